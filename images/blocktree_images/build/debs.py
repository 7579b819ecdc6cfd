"""Debian packages: settle which versions, download them, keep each until its hash is another.

`settle` asks a private apt (its own lists, its own empty status; nothing of this machine's is
touched) and gives a `Selection`: the text of apt's own records, one package each. A selection is
an input like any other: the same one gives the same bytes, whatever Debian publishes later.
"""

import email.utils
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from blocktree.fault import Fault, Kind
from blocktree_images.build.mirror import Mirror
from blocktree_images.cache import file_digest
from blocktree_images.programs import Watch, need, run, silent

_INSTALLS = re.compile(r"^Inst (\S+) \((\S+) .*\[(\w+)\]", re.MULTILINE)
_FIELD = re.compile(r"^([A-Za-z0-9-]+): (.*)$", re.MULTILINE)
_DROPPED = {"Description", "Description-md5", "Tag", "Homepage", "MD5sum", "Filename"}
_DATE = re.compile(r"^Date: (.*)$", re.MULTILINE)
_BATCH = 40


@dataclass(frozen=True, slots=True)
class Deb:
    """One package in one version."""

    name: str
    version: str
    architecture: str
    size: int
    sha256: str
    record: str  # apt's record without prose and file name

    @property
    def file(self) -> str:
        """Its file's name as apt writes it."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


@dataclass(frozen=True, slots=True)
class Selection:
    """The packages that together satisfy a wish.

    Args:
        epoch: when the mirror's index was signed, in seconds: the date of all that is made from it.
        debs: sorted by name.
    """

    epoch: int
    debs: tuple[Deb, ...]

    def save(self, path: Path) -> None:
        """Write it whole."""
        part = path.with_name(f".{path.name}")
        records = [deb.record for deb in self.debs]
        part.write_text(json.dumps({"epoch": self.epoch, "records": records}, indent=1))
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Selection":
        """Read what `save` wrote.

        Raises:
            ValueError, KeyError, OSError: there is none.
        """
        kept = json.loads(path.read_text())
        return cls(int(kept["epoch"]), tuple(read_record(text) for text in kept["records"]))

    def digest_inputs(self) -> list[str]:
        """What names it as an input."""
        return [str(self.epoch), *(f"{deb.file} {deb.sha256}" for deb in self.debs)]


def read_record(record: str) -> Deb:
    """One of apt's records."""
    fields = dict(_FIELD.findall(record))
    return Deb(
        fields["Package"],
        fields["Version"],
        fields["Architecture"],
        int(fields["Size"]),
        fields["SHA256"],
        record,
    )


class Apt:
    """A private apt for one architecture.

    Args:
        folder: its lists and downloads.
        architecture: Debian's name of it.
        mirror: where it asks.
        suites: "trixie", "trixie-backports"; a later one only gives what is asked of it by name.
    """

    def __init__(
        self, folder: Path, architecture: str, mirror: Mirror, suites: Sequence[str]
    ) -> None:
        self.folder = folder
        self.architecture = architecture
        self._mirror = mirror
        self._suites = suites
        self._config = folder / "apt.conf"

    def settle(self, wanted: Iterable[str], watch: Watch = silent) -> Selection:
        """Which packages `wanted` takes today, with all they depend on; nothing recommended.

        Args:
            wanted: names, patterns such as `?essential`, or `name/suite`.
            watch: told what apt says.

        Raises:
            Fault: FAILED, with apt's words, if the mirror does not answer or lacks a package.
        """
        need("apt-get", "apt-cache")
        self._prepare()
        self._apt("apt-get", "update", "-o", "APT::Update::Error-Mode=any", watch=watch)
        plan = self._apt("apt-get", "install", "--simulate", "--yes", *wanted, watch=watch)
        names = [f"{n.split(':')[0]}={v}" for n, v, _ in _INSTALLS.findall(plan)]
        told = self._apt("apt-cache", "show", *names)
        records = {_squeeze(text) for text in told.strip().split("\n\n")}
        debs = sorted(map(read_record, records), key=lambda deb: (deb.name, deb.version))
        if len(debs) != len(names):
            raise Fault(Kind.FAILED, "apt told of other packages than it would install")
        return Selection(self._signed(), tuple(debs))

    def download(self, selection: Selection, store: Path, watch: Watch = silent) -> None:
        """Bring every package of the selection to `store`, its hash checked.

        Raises:
            Fault: FAILED if the mirror has one no more, DAMAGED if what came has another hash.
        """
        store.mkdir(parents=True, exist_ok=True)
        lacking = [deb for deb in selection.debs if not _is_here(deb, store)]
        for start in range(0, len(lacking), _BATCH):
            batch = lacking[start : start + _BATCH]
            watch(f"downloading {start + 1} to {start + len(batch)} of {len(lacking)} packages")
            self._fetch(batch, store)
        for deb in lacking:
            if not _is_here(deb, store):
                raise Fault(
                    Kind.DAMAGED,
                    "the package that came has another hash than the mirror's index says",
                    path=deb.file,
                    next_step="try again; if it stays, change the mirror in apt's sources",
                )

    def _fetch(self, batch: Sequence[Deb], store: Path) -> None:
        try:
            names = [f"{deb.name}:{deb.architecture}={deb.version}" for deb in batch]
            self._apt("apt-get", "download", *names, cwd=store)
        except Fault as fault:
            raise Fault(
                fault.kind,
                fault.what,
                next_step="if the mirror has these versions no more: bt image build --refresh",
            ) from fault

    def _prepare(self) -> None:
        for name in ("lists/partial", "archives/partial", "preferences.d", "empty"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").write_text("")
        lines = [self._mirror.sources(s, ("main", "non-free-firmware")) for s in self._suites]
        (self.folder / "sources.list").write_text("".join(lines))
        self._config.write_text(self._configuration())

    def _configuration(self) -> str:
        here = self.folder.absolute()
        settings = {
            "Dir::Etc": here,
            "Dir::Etc::sourcelist": here / "sources.list",
            "Dir::Etc::sourceparts": here / "empty",
            "Dir::Etc::parts": here / "empty",
            "Dir::State": here,
            "Dir::State::status": here / "status",
            "Dir::Cache": here,
            "APT::Architecture": self.architecture,
            "APT::Install-Recommends": "false",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
        }
        lines = [f'{name} "{value}";' for name, value in settings.items()]
        if os.geteuid() == 0:
            lines.append('APT::Sandbox::User "root";')  # the cache may be where _apt may not go
        lines += ["#clear APT::Architectures;", f'APT::Architectures {{ "{self.architecture}"; }};']
        return "\n".join([*lines, ""])

    def _apt(
        self, program: str, *words: str, watch: Watch = silent, cwd: Path | None = None
    ) -> str:
        env = {"APT_CONFIG": str(self._config.absolute())}
        return run([program, *words], env=env, watch=watch, cwd=cwd)

    def _signed(self) -> int:
        """When the newest of the mirror's indexes was signed."""
        texts = [path.read_text() for path in (self.folder / "lists").glob("*_dists_*Release")]
        dates = [found[1] for text in texts if (found := _DATE.search(text))]
        if not dates:
            raise Fault(Kind.FAILED, "the mirror's index has no date")
        return max(int(email.utils.parsedate_to_datetime(date).timestamp()) for date in dates)


def unpack(selection: Selection, store: Path, into: Path, watch: Watch = silent) -> None:
    """Unpack the packages' files, without running any of their scripts."""
    need("dpkg-deb")
    into.mkdir(parents=True, exist_ok=True)
    for deb in selection.debs:
        watch(f"unpacking {deb.name}")
        run(["dpkg-deb", "--extract", store / deb.file, into])


def write_repository(selection: Selection, store: Path, folder: Path, suite: str) -> None:
    """Make a repository of just these packages in `folder`, for mmdebstrap to take from.

    Its index is not signed: it is made here, of packages whose hashes were checked.
    """
    (architecture,) = {deb.architecture for deb in selection.debs} - {"all"}
    index = folder / "dists" / suite / "main" / f"binary-{architecture}" / "Packages"
    index.parent.mkdir(parents=True)
    (folder / "pool").mkdir()
    for deb in selection.debs:
        _place(store / deb.file, folder / "pool" / deb.file)
    records = [f"{deb.record.strip()}\nFilename: pool/{deb.file}\n" for deb in selection.debs]
    content = "\n".join(records).encode()
    index.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    where = index.relative_to(folder / "dists" / suite)
    (folder / "dists" / suite / "Release").write_text(
        f"Origin: Debian\nSuite: {suite}\nCodename: {suite}\nComponents: main\n"
        f"Architectures: {architecture}\nDate: {email.utils.formatdate(selection.epoch)}\n"
        f"SHA256:\n {digest} {len(content)} {where}\n"
    )


def _place(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def _is_here(deb: Deb, store: Path) -> bool:
    """Whether the package lies in the store as its hash says; what does not is removed."""
    path = store / deb.file
    if not path.exists():
        return False
    if path.stat().st_size == deb.size and file_digest(path) == deb.sha256:
        return True
    path.unlink()
    return False


def _squeeze(record: str) -> str:
    """A record without its prose, which may be folded over lines."""
    kept, skipping = [], False
    for line in record.strip().splitlines():
        if not line.startswith((" ", "\t")):
            skipping = line.partition(":")[0] in _DROPPED
        if not skipping:
            kept.append(line)
    return "\n".join(kept)
