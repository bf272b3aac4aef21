"""The two sorts of package: how each is brought in, taken out and asked about, and what it is to hold."""

import re
from dataclasses import dataclass

from tests.packages.dist import ROOT
from tests.support import procs

DOC = "/usr/share/doc/scopeshim"
# Path: mode, owner and group in an installed system.
BOTH = {
    "/etc/scopeshim": "2750 root:scopeshim",
    "/etc/scopeshim/config.toml": "640 root:scopeshim",
    "/usr/bin/scopeshim": "755 root:root",
    "/usr/lib/systemd/system/scopeshim.service": "644 root:root",
    "/usr/lib/systemd/system/scopeshim.socket": "644 root:root",
    "/usr/lib/sysusers.d/scopeshim.conf": "644 root:root",
    "/usr/lib/tmpfiles.d/scopeshim.conf": "644 root:root",
    "/usr/share/bash-completion/completions/scopeshim": "644 root:root",
    f"{DOC}/README.md": "644 root:root",
    # Every page that the README leads to.
    **{f"{DOC}/{page.relative_to(ROOT)}": "644 root:root" for page in sorted((ROOT / "docs").rglob("*.md"))},
    "/usr/share/doc/scopeshim/examples/config.example.toml": "644 root:root",
    "/usr/share/fish/vendor_completions.d/scopeshim.fish": "644 root:root",
    "/usr/share/man/man1/scopeshim.1.gz": "644 root:root",
    "/usr/share/man/man5/scopeshim.toml.5.gz": "644 root:root",
    "/usr/share/scopeshim/config.schema.json": "644 root:root",
    "/usr/share/scopeshim/grafana/scopeshim.json": "644 root:root",
    "/usr/share/scopeshim/prometheus/alerts.yml": "644 root:root",
}
DEB = {
    "/usr/share/doc/scopeshim/THIRD-PARTY-LICENSES.md": "644 root:root",
    "/usr/share/doc/scopeshim/changelog.Debian.gz": "644 root:root",
    "/usr/share/doc/scopeshim/changelog.gz": "644 root:root",
    "/usr/share/doc/scopeshim/copyright": "644 root:root",
    "/usr/share/zsh/vendor-completions/_scopeshim": "644 root:root",
}
RPM = {
    "/usr/share/doc/scopeshim/CHANGELOG.md": "644 root:root",
    "/usr/share/licenses/scopeshim/THIRD-PARTY-LICENSES.md": "644 root:root",
    "/usr/share/licenses/scopeshim/copyright": "644 root:root",
    "/usr/share/zsh/site-functions/_scopeshim": "644 root:root",
}


@dataclass(frozen=True)
class Kind:
    """A sort of package on a machine of its own."""

    name: str
    suite: str
    files: dict
    # What the shipped configuration is called beside one that was edited.
    beside: str

    def package(self, dist):
        return dist.deb if self.files is DEB else dist.rpm

    def following(self, dist):
        return dist.next_deb if self.files is DEB else dist.next_rpm

    def install(self, machine, file):
        """Installs or upgrades, and says what was said."""
        if self.files is DEB:
            return machine.must("apt-get", "install", "--yes", "--quiet", "-o", "Dpkg::Options::=--force-confdef",
                                "-o", "Dpkg::Options::=--force-confold", "--allow-downgrades", file)
        # Nothing is enabled that nobody asked for: the preset of Fedora, RHEL and openSUSE.
        preset = machine.path("/usr/lib/systemd/system-preset/99-default-disable.preset")
        preset.write_text("disable *\n")
        # In this root nothing else came by rpm, so what is needed is not on its list; files.glibc looks at it.
        return machine.must("rpm", "-U", "--nodeps", "--oldpackage", file)

    def remove(self, machine):
        if self.files is DEB:
            return machine.must("apt-get", "remove", "--yes", "--quiet", "scopeshim")
        return machine.must("rpm", "-e", "scopeshim")

    def purge(self, machine):
        return machine.must("apt-get", "purge", "--yes", "--quiet", "scopeshim")

    def version(self, machine):
        """The version installed, or nothing."""
        if self.files is DEB:
            done = machine.run("dpkg-query", "--show", "--showformat=${db:Status-Abbrev} ${Version}", "scopeshim")
            return done.stdout.split()[-1] if done.stdout.startswith("ii") else ""
        done = machine.run("rpm", "-q", "--queryformat=%{VERSION}", "scopeshim")
        return "" if done.returncode else done.stdout

    def verify(self, machine):
        """What the package manager finds changed."""
        if self.files is DEB:
            return machine.run("dpkg", "--verify", "scopeshim").stdout.strip()
        return machine.run("rpm", "-V", "--nodeps", "scopeshim").stdout.strip()

    def listed(self, dist):
        """Paths of the files that the package holds."""
        if self.files is DEB:
            said = _said(["dpkg-deb", "--contents", dist.deb])
            return {line.split()[5].lstrip(".") for line in said.splitlines() if not line.startswith("d")}
        return set(_said(["rpm", "-qpl", "--nosignature", dist.rpm]).split())

    def scripts(self, dist, folder):
        """The scripts that run as root, each as one text."""
        if self.files is DEB:
            _said(["dpkg-deb", "--control", dist.deb, folder])
            names = ("preinst", "postinst", "prerm", "postrm")
            return {name: (folder / name).read_text() for name in names if (folder / name).exists()}
        said = _said(["rpm", "-qp", "--scripts", "--nosignature", dist.rpm])
        parts = re.split(r"^(\w+) scriptlet.*:\n", said, flags=re.MULTILINE)
        return {name: "#!/bin/sh\n" + text for name, text in zip(parts[1::2], parts[2::2])}


def _said(command):
    done = procs.run([str(c) for c in command], None, 120)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr}")
    return done.stdout


KINDS = (
    Kind("deb", "bookworm", DEB, ".dpkg-dist"),
    Kind("deb13", "trixie", DEB, ".dpkg-dist"),
    Kind("rpm", "bookworm", RPM, ".rpmnew"),
)
