"""Entries that the tree does not have yet: 32 in RAM, older ones in flash, bounded.

A segment is one file of 32 entries, named by its first place; each is written once and removed
whole, which is what flash likes. Each entry has its length, boot and seq before it.
"""

from bt import flash

SEGMENT = 32
_HEAD = 10


class Buffer:
    """Entries in the order of their places `(boot, seq)`.

    Args:
        folder: of the segments; "" for a board that keeps none.
        most: bytes of flash.
    """

    def __init__(self, folder, most):
        self._folder = folder
        self._most = most
        self._recent = []  # (place, entry)
        self._segments = []  # (first, last, path, bytes)
        self._kept = (0, 0)
        if folder:
            flash.make_folder(folder)
            for name in flash.names(folder):
                self._find(folder + "/" + name)

    def _find(self, path):
        places = [place for place, _entry in _read(path)]
        if places and not path.endswith(".new"):
            self._segments.append((places[0], places[-1], path, flash.size(path)))
            self._segments.sort()
        else:
            flash.remove(path)

    def __len__(self):
        return len(self._recent) + SEGMENT * len(self._segments)

    def add(self, place, entry):
        """Keep an entry; gives the (first, last) places that had to go for it, or None."""
        self._recent.append((place, entry))
        if len(self._recent) < 2 * SEGMENT and not self._folder:
            return None
        if len(self._recent) <= SEGMENT:
            return None
        moved, self._recent = self._recent[:SEGMENT], self._recent[SEGMENT:]
        if not self._folder:
            return moved[0][0], moved[-1][0]
        return self._write(moved)

    def _write(self, moved):
        first, last = moved[0][0], moved[-1][0]
        path = "%s/%08x-%08x" % (self._folder, first[0], first[1])
        lost = None
        total = sum([len(entry) + _HEAD for _place, entry in moved])
        while self._segments and sum([s[3] for s in self._segments]) + total > self._most:
            gone = self._segments.pop(0)
            flash.remove(gone[2])
            lost = (lost[0] if lost else gone[0], gone[1])
        try:
            with open(path + ".new", "wb") as file:
                for (boot, seq), entry in moved:
                    file.write(len(entry).to_bytes(2, "big") + boot.to_bytes(4, "big"))
                    file.write(seq.to_bytes(4, "big"))
                    file.write(entry)
            flash.replace(path + ".new", path)
        except OSError:  # full or worn out: what does not fit is lost, and said to be
            flash.remove(path + ".new")
            return (lost[0] if lost else first, last)
        self._segments.append((first, last, path, total))
        return lost

    def kept(self, place):
        """Let go of everything up to a place."""
        self._kept = max(self._kept, place)
        while self._segments and self._segments[0][1] <= place:
            flash.remove(self._segments.pop(0)[2])
        self._recent = [pair for pair in self._recent if pair[0] > place]

    def clear(self):
        """Drop everything; gives the (first, last) places, or None."""
        first, last = self.oldest(), self._recent[-1][0] if self._recent else None
        if self._segments and last is None:
            last = self._segments[-1][1]
        while self._segments:
            flash.remove(self._segments.pop()[2])
        self._recent = []
        return (first, last) if first else None

    def oldest(self):
        """The place of the first entry that is still here, or None."""
        if self._segments:
            return max(self._segments[0][0], self._kept)
        return self._recent[0][0] if self._recent else None

    def after(self, place):
        """The first (place, entry) behind `place`, or None."""
        place = max(place, self._kept)
        for segment in self._segments:
            if segment[1] > place:
                for found in _read(segment[2]):
                    if found[0] > place:
                        return found
        for found in self._recent:
            if found[0] > place:
                return found
        return None

    def safe(self):
        """The newest (place, entry) in flash, or None."""
        if not self._segments:
            return None
        return list(_read(self._segments[-1][2]))[-1]


def _read(path):
    """The (place, entry) pairs of a segment; a torn end is left out."""
    try:
        with open(path, "rb") as file:
            while True:
                head = file.read(_HEAD)
                if len(head) < _HEAD:
                    return
                entry = file.read(int.from_bytes(head[:2], "big"))
                if len(entry) < int.from_bytes(head[:2], "big"):
                    return
                place = int.from_bytes(head[2:6], "big"), int.from_bytes(head[6:], "big")
                yield place, entry
    except OSError:
        return
