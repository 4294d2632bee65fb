# SPDX-License-Identifier: Apache-2.0
"""A storage of containers/storage of the test's own, for buildah and podman, that touches nothing of the system's."""

import json
import shlex
import tarfile
from pathlib import Path

STORAGE = """[storage]
driver = "{driver}"
runroot = "{place}/run"
graphroot = "{place}/graph"
rootless_storage_path = "{place}/graph"
[storage.options.overlay]
{mount_program}
"""
CONTAINERS = """[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "none"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "{place}/tmp"
runtime = "{runtime}"
"""
POLICY = {"default": [{"type": "insecureAcceptAnything"}]}


class Storage:
    """Environment variables that make buildah and podman work at `place`, with a mount program or without."""

    def __init__(self, place, mount_program=None, driver="overlay", runtime="runc"):
        self.place = Path(place)
        for name in ("run", "graph", "tmp", "home"):
            (self.place / name).mkdir(parents=True)
        option = f'mount_program = "{mount_program}"' if mount_program else ""
        told = {"place": self.place, "driver": driver, "mount_program": option, "runtime": runtime}
        (self.place / "storage.conf").write_text(STORAGE.format(**told))
        (self.place / "containers.conf").write_text(CONTAINERS.format(**told))
        (self.place / "registries.conf").write_text("")
        (self.place / "policy.json").write_text(json.dumps(POLICY))
        self.environment = {
            "CONTAINERS_STORAGE_CONF": f"{self.place}/storage.conf",
            "CONTAINERS_CONF": f"{self.place}/containers.conf",
            "CONTAINERS_REGISTRIES_CONF": f"{self.place}/registries.conf",
            "REGISTRIES_CONFIG_PATH": f"{self.place}/registries.conf",
            "BUILDAH_ISOLATION": "chroot",
            "XDG_RUNTIME_DIR": f"{self.place}/run",
            "HOME": f"{self.place}/home",
            "TMPDIR": f"{self.place}/tmp",
            "POLICY": f"{self.place}/policy.json",
            "PLACE": str(self.place),
        }


# A first image with busybox, a file or two, and a directory that is replaced later.
FIRST = """set -e
c=$(buildah from scratch); m=$(buildah mount $c)
mkdir -p $m/bin $m/d/sub $m/old $m/keep; cp /bin/busybox $m/bin/; /bin/busybox --install -s $m/bin 2>/dev/null || true
for link in $m/bin/*; do test ! -L $link || ln -sf busybox $link; done
echo a >$m/d/a; echo b >$m/d/sub/b; echo gone >$m/gone; echo x >$m/old/x; echo y >$m/old/y; echo k >$m/keep/k
chmod 1777 $m/d/sub; mkdir $m/h; echo h >$m/h/1; ln $m/h/1 $m/h/2
buildah umount $c >/dev/null; buildah commit -q --signature-policy $POLICY $c first >/dev/null; buildah rm $c >/dev/null
"""


def step(image, command, result):
    """From an image, a command in it, and the image of the outcome."""
    return f"""c=$(buildah from --pull-never --signature-policy $POLICY {image})
buildah run $c -- sh -c {shlex.quote(command)}
buildah commit -q --signature-policy $POLICY $c {result} >/dev/null; buildah rm $c >/dev/null
"""


def show(image):
    """The tree of the image, as JSON on a line. Times of directories are those of the build."""
    return f"""c=$(buildah from --pull-never --signature-policy $POLICY {image}); m=$(buildah mount $c)
$SHOW $m --no-times; echo; buildah umount $c >/dev/null; buildah rm $c >/dev/null
"""


def save(image, place):
    return f"buildah push -q --signature-policy $POLICY {image} oci:{place}:x\n"


def layers(place):
    """The names in each layer of the one image in an OCI layout, the lowest first."""
    read = lambda digest: Path(place, "blobs", *digest.split(":"))  # noqa: E731
    index = json.loads(Path(place, "index.json").read_text())
    manifest = json.loads(read(index["manifests"][0]["digest"]).read_text())
    found = []
    for entry in manifest["layers"]:
        with tarfile.open(read(entry["digest"])) as archive:
            found.append({member.name.strip("/"): member.type for member in archive})
    return found
