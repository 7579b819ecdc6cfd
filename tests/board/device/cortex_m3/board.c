// The emulated board: MicroPython's QEMU port has no clock, no random bytes, and a reset that ends the emulator.
#include "py/mphal.h"
#include "py/runtime.h"
#include "py/stream.h"
#include "shared/runtime/pyexec.h"
#include "uart.h"

// Of the MPS2's FPGA: a counter of 25 MHz behind a prescaler.
#define COUNTER (*(volatile uint32_t *)0x40028018)
#define PRESCALE (*(volatile uint32_t *)0x4002801c)
#define TICKS_OF_A_MICROSECOND 25

#define UART_STATE (*(volatile uint32_t *)0x40004004)
#define UART_RXFULL 2

#define RESET_CONTROL (*(volatile uint32_t *)0xe000ed0c)
#define RESET_REQUEST 0x05fa0004

#define SEMIHOSTING_TIME 0x11

static uint64_t microseconds(void) {
    static uint32_t last;
    static uint64_t wrapped;
    uint32_t now = COUNTER;
    if (now < last) {
        wrapped += (uint64_t)1 << 32;
    }
    last = now;
    return wrapped + now;
}

mp_uint_t mp_hal_ticks_us(void) {
    return microseconds();
}

mp_uint_t mp_hal_ticks_ms(void) {
    return microseconds() / 1000;
}

mp_uint_t mp_hal_ticks_cpu(void) {
    return microseconds();
}

uint64_t mp_hal_time_ns(void) {
    return microseconds() * 1000;
}

void mp_hal_delay_us(mp_uint_t us) {
    uint64_t end = microseconds() + us;
    while (microseconds() < end) {
    }
}

void mp_hal_delay_ms(mp_uint_t ms) {
    uint64_t end = microseconds() + (uint64_t)ms * 1000;
    while (microseconds() < end) {
        mp_event_handle_nowait();
    }
}

uintptr_t mp_hal_stdio_poll(uintptr_t wanted) {
    uintptr_t found = wanted & MP_STREAM_POLL_WR;
    if ((wanted & MP_STREAM_POLL_RD) && (UART_STATE & UART_RXFULL)) {
        found |= MP_STREAM_POLL_RD;
    }
    return found;
}

static uint32_t seconds_since_1970(void) {
    register uint32_t operation __asm("r0") = SEMIHOSTING_TIME;
    register uint32_t argument __asm("r1") = 0;
    __asm volatile ("bkpt 0xab" : "+r" (operation) : "r" (argument) : "memory");
    return operation;
}

unsigned int board_random(void) {
    static uint64_t state;
    if (state == 0) {
        state = ((uint64_t)seconds_since_1970() << 32) | (COUNTER | 1);
    }
    state ^= COUNTER;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return state >> 32;
}

void board_reset(void) {
    RESET_CONTROL = RESET_REQUEST;
    for (;;) {
    }
}

// What boards do between starting and their prompt.
void board_start(void) {
    PRESCALE = TICKS_OF_A_MICROSECOND - 1;
    pyexec_frozen_module("_boot.py", false);
    if (pyexec_mode_kind == PYEXEC_MODE_FRIENDLY_REPL) {
        pyexec_file_if_exists("main.py");
    }
}
