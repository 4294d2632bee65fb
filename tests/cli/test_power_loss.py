"""What a power loss leaves behind is never used: seen on an image of the disk, taken while strata writes.

The store is on a file system in a loop device. At many instants the backing file is copied: that is what the disk
would hold if the power went at that moment. (The copy is of the file's pages as they change, so it is no exact
instant; the file systems' journals see to the rest, and images that cannot be mounted are not counted.) Each
copy is mounted, another boot id is put over the kernel's, and whatever strata then resolves must be whole.
Loop devices are root's: conftest.py leaves this file out for others.
"""

import json
import os
import random
import shutil
import subprocess
import time

import pytest
import store_check
from archives import File, write_tar

MKFS = {
    "ext4": ["mkfs.ext4", "-q", "-F"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
}
SIZE = 320 << 20


class Disk:
    def __init__(self, image, at):
        self.image, self.at = image, at

    def __enter__(self):
        self.at.mkdir(exist_ok=True)
        # Another UUID than that of its copies is no matter to xfs this way.
        kind = subprocess.run(["blkid", "-o", "value", "-s", "TYPE", self.image], capture_output=True, text=True).stdout.strip()
        options = "loop,nouuid" if kind == "xfs" else "loop"
        subprocess.run(["mount", "-o", options, self.image, self.at], check=True, capture_output=True)
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", self.at], check=True)


def copy(image, to):
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", image, to], check=True)
    return to


def archives(tmp_path):
    """Three layers: many small files, a few large ones, and one to change."""
    chance = random.Random(7)
    yield write_tar(tmp_path / "small.tar", {f"s/{n % 40}/f{n}": chance.randbytes(chance.randrange(3000)) for n in range(4000)})
    yield write_tar(tmp_path / "large.tar", {f"l/f{n}": chance.randbytes(4_000_000) for n in range(4)})
    yield write_tar(tmp_path / "some.tar", {f"o/f{n}": File(chance.randbytes(100_000)) for n in range(60)})


def in_another_boot(strata, boot, *args):
    """strata, with another file over the kernel's boot id, in a mount namespace of its own."""
    script = 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"'
    return subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, boot, *strata.command(*args)],
        env=strata.environment(), cwd=strata.home, capture_output=True, text=True, timeout=300)


def check_after(strata, store, boot, ids):
    """Uses everything that resolves. Returns how many layers were whole, and how many were refused."""
    whole = refused = 0
    listing = in_another_boot(strata, boot, "list", "refs", "--json")
    assert listing.returncode == 0, listing.stderr
    # From here on it is a third boot: under a mount in /proc no sandbox can have a /proc of its own.
    for ref in json.loads(listing.stdout):
        name = ref["name"]
        ran = strata("run", "base", *([name] if name != "base" else []), "--", "true")
        if ran.returncode == 0:
            whole += 1
        else:
            refused += 1
            assert ran.returncode == 125 and ("is damaged" in ran.stderr or "no layer" in ran.stderr), ran.stderr
    for id in ids:
        strata("export", "-o", "/dev/null", id)
    strata("fsck")
    # Nothing in layers/ is torn, and what was refused can be cleared away.
    problems = [line for line in store_check.problems(store) if "/refs/" not in line]
    assert problems == [], problems[:5]
    repaired = strata("fsck", "--repair")
    assert "left as" not in repaired.stdout and repaired.returncode in (0, 1), repaired.stderr
    strata("fsck").ok()
    return whole, refused


@pytest.mark.parametrize("kind", [kind for kind in MKFS if shutil.which(MKFS[kind][0], path="/usr/sbin:/sbin:" + os.environ["PATH"])])
def test_nothing_torn_is_used_after_a_power_loss(strata, base_tar, tmp_path, kind):
    image, boot = tmp_path / "disk", tmp_path / "boot-id"
    boot.write_text("11111111-2222-3333-4444-555555555555\n")
    image.touch()
    os.truncate(image, SIZE)
    subprocess.run([*MKFS[kind], image], check=True)
    tars = list(archives(tmp_path))
    ids, copies = [], []
    with Disk(image, tmp_path / "mnt") as disk:
        store = disk.at / "store"
        strata.env["STRATA_STORE"] = str(store)

        def snapshots(process, count, pause):
            for _ in range(count):
                copies.append(copy(image, tmp_path / f"copy{len(copies)}"))
                time.sleep(pause)
            assert process.wait() == 0, process.stderr.read()
            process.communicate()

        ids.append(strata("import", "--name", "base", base_tar).ok().out)
        os.sync()
        for number, tar in enumerate(tars):
            snapshots(strata.start("import", "-q", "--name", f"l{number}", tar), 3, 0.05)
            ids.append(strata("show", "--json", f"l{number}").json()["id"])
            # A tag that moves: the old one or the new one.
            strata("tag", f"l{number}", "moving").ok()
        script = "mkdir /made; i=0; while [ $i -lt 300 ]; do echo $i > /made/$i; i=$((i+1)); done"
        snapshots(strata.start("run", "-q", "--capture", "made", "base", "l0", "--", "sh", "-c", script), 2, 0.1)
        # Right after, and when the file system has written a part by itself.
        for pause in (0, 1.5, 4):
            time.sleep(pause)
            copies.append(copy(image, tmp_path / f"copy{len(copies)}"))
    whole = refused = mounted = 0
    for snapshot in copies:
        try:
            with Disk(snapshot, tmp_path / "after") as disk:
                if not (disk.at / "store/layers").is_dir():
                    continue
                mounted += 1
                strata.env["STRATA_STORE"] = str(disk.at / "store")
                found = check_after(strata, disk.at / "store", boot, ids)
                whole, refused = whole + found[0], refused + found[1]
        except subprocess.CalledProcessError as error:
            if "mount" != error.cmd[0]:
                raise
        snapshot.unlink()
    print(f"{kind}: {mounted} of {len(copies)} images, {whole} layers whole, {refused} refused")
    assert mounted >= len(copies) // 2
    assert whole > 0
