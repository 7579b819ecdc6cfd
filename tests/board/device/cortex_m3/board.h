// What the emulated board has beyond MicroPython's QEMU port, so that it is like a stock board without a network:
// a clock, random bytes, a console that is polled, a file system in flash, and a reset that keeps it.
#undef MICROPY_PY_SYS_STDIO_BUFFER
#undef MICROPY_PY_SELECT
#undef MICROPY_PY_TIME
#undef MICROPY_PY_ASYNCIO
#define MICROPY_PY_SYS_STDIO_BUFFER (1)
#define MICROPY_PY_SELECT (1)
#define MICROPY_PY_TIME (1)
#define MICROPY_PY_ASYNCIO (1)
#define MICROPY_KBD_EXCEPTION (1)
#define MICROPY_PY_OS_URANDOM (1)
#define MICROPY_PY_OS_INCLUDEFILE "board_random.h"

__attribute__((noreturn)) void board_reset(void);
void board_start(void);
