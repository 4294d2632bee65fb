# SPDX-License-Identifier: Apache-2.0
"""A project with an element of each kind that people use, on a root of busybox.

There is no compiler: `configure`, `make` and `cmake` are scripts that do what the real ones do to a tree of files.
"""

from trees import Exec, Link, Mode, busybox_root, write_element, write_import, write_listing, write_project

# make [-jN] [DESTDIR=D] [install] and cmake -B.. / --build D [--target install], for sources with parts/.
MAKE = Exec("""#!/bin/sh -e
target=all
for word; do
  case $word in
    DESTDIR=*) DESTDIR=${word#DESTDIR=} ;;
    -*) ;;
    *) target=$word ;;
  esac
done
echo "make: $target"
if [ $target = all ]; then
  mkdir -p out
  for part in parts/*; do { cat /usr/include/*.h config.out "$part"; } > out/${part##*/}; done
else
  prefix=$(cat config.out)
  mkdir -p "$DESTDIR$prefix/bin" "$DESTDIR$prefix/lib" "$DESTDIR$prefix/include" "$DESTDIR$prefix/share/man/man1"
  for part in out/*; do
    case $part in
      *.so) cp "$part" "$DESTDIR$prefix/lib/lib${part##*/}.1"; ln -s "lib${part##*/}.1" "$DESTDIR$prefix/lib/lib${part##*/}" ;;
      *.h) cp "$part" "$DESTDIR$prefix/include/" ;;
      *.1) cp "$part" "$DESTDIR$prefix/share/man/man1/" ;;
      *) cp "$part" "$DESTDIR$prefix/bin/"; chmod 755 "$DESTDIR$prefix/bin/${part##*/}" ;;
    esac
  done
fi
""")

CMAKE = Exec("""#!/bin/sh -e
case $1 in
  -B*) mkdir -p "${1#-B}"; echo /usr > config.out; echo "cmake: $3" ;;
  --build) if [ "$3" = --target ]; then exec make install; else exec make; fi ;;
esac
""")

CONFIGURE = Exec("""#!/bin/sh -e
for word; do case $word in --prefix=*) echo "${word#--prefix=}" > config.out ;; esac; done
echo "configure: $(cat config.out)"
""")

# As ldconfig: a list of what is there, so the later it runs, the longer it is.
LDCONFIG = Exec("#!/bin/sh -e\nls /usr/lib | sed -n '/so/p' > /etc/ld.so.cache\n")


def commands(kind, *lines):
    return f"config:\n  {kind}:\n" + "".join(f"  - |\n    {line}\n" for line in lines)


def integration(*lines, rest=""):
    return "public:\n  bst:\n" + rest + "    integration-commands:\n" + "".join(f"    - {line}\n" for line in lines)


def write_dozen(top):
    write_project(top)
    write_import(top, "base", busybox_root(), integration('echo "base integrated" > /etc/order'))
    write_import(
        top,
        "tools",
        {"usr/bin/make": MAKE, "usr/bin/cmake": CMAKE, "usr/sbin/ldconfig": LDCONFIG, "usr/include/tools.h": "#tools\n"},
        integration("ldconfig", 'echo "tools saw $(tail -n1 /etc/order)" >> /etc/order'),
        depends=["base"],
    )
    write_element(
        top,
        "greet",
        "autotools",
        integration("ldconfig && cat /etc/ld.so.cache", 'echo "greet saw $(tail -n1 /etc/order)" >> /etc/order'),
        depends=["tools"],
        source={"configure": CONFIGURE, "parts/greet.so": "greet\n", "parts/greet.h": "#greet\n", "parts/greet.1": "manual\n"},
    )
    write_element(
        top,
        "hello",
        "cmake",
        integration("cp /etc/ld.so.cache /etc/seen-by-hello", "ln -sf /usr/bin/hello /usr/bin/hi", "rm -f /usr/include/tools.h"),
        depends=["greet"],
        source={"CMakeLists.txt": "hello", "parts/hello": "hello\n", "parts/hello.h": "#hello\n"},
    )
    write_element(
        top,
        "odd",
        "manual",
        commands(
            "install-commands",
            'cd %{install-root}; mkdir -p empty "a b/c" var/tmp; echo 1 > "a b/c/d e"; echo 2 > "quote\'s"; echo x > -dash',
            'cd %{install-root}; printf x > "back\\\\slash"; printf x > "$(printf "tab\\there")"; echo u > "ünï"',
            "cd %{install-root}; echo one > one; ln one two; ln -s nowhere dangling; ln -s ../../../.. up; ln -s self self",
            "cd %{install-root}; echo s > suid; chmod 4755 suid; echo r > ro; chmod 444 ro; mkdir private; chmod 700 private",
            "cd %{install-root}; mkdir sticky; chmod 1777 sticky; : > empty-file; chmod 400 empty-file",
            'cat source.txt "$(pwd)/sub/s" > %{install-root}/from-source; pwd > %{install-root}/where; id > %{install-root}/who; '
            "umask > %{install-root}/mask; env | sort > %{install-root}/environment",
        ),
        build=["base"],
        source={"source.txt": "source\n", "sub/s": "sub\n", "run": Exec("#!/bin/sh\n")},
    )
    # Real directories where the base has links: merged /usr, an absolute link, and a chain of them.
    write_import(
        top,
        "links",
        {"opt": Link("/usr/lib/opt"), "data": Link("chain"), "chain": Link("usr/data"), "usr/lib/opt/here": "h\n", "usr/data/h": "h\n"},
    )
    write_import(
        top,
        "through",
        {"lib/module.so": "module\n", "bin/prog": Exec("#!/bin/sh\n"), "opt/prog/x": "x\n", "data/d": "d\n", "sbin/adm": Exec("adm")},
        depends=["base", "links"],
    )
    # Three that bring the same files; the last one says so.
    write_import(top, "overlap-a", {"etc/one": "a\n", "etc/two": "a\n", "etc/dir/x": "a\n", "etc/same": "same\n"}, depends=["base"])
    write_import(top, "overlap-b", {"etc/one": "b\n", "etc/dir/x": Exec("b\n"), "etc/same": "same\n"}, depends=["base"])
    write_import(
        top,
        "overlap-c",
        {"etc/one": "c\n", "etc/two": Link("one"), "etc/dir/x": "c\n"},
        'public:\n  bst:\n    overlap-whitelist:\n    - /etc/one\n    - "/etc/d*/*"\n',
        depends=["base"],
    )
    write_element(top, "all", "stack", depends=["hello", "odd", "through", "overlap-a", "overlap-b", "overlap-c"])
    write_element(top, "whole", "compose", build=["hello", "through"])
    write_element(
        top,
        "runtime",
        "compose",
        "config:\n  include: [runtime]\n  exclude: [devel, doc]\n  include-orphans: false\n",
        build=["hello", "overlap-c", "overlap-a"],
    )
    write_element(
        top, "no-doc", "compose", "config:\n  integrate: false\n  exclude: [doc]\n", build=["hello", "overlap-a", "overlap-b"]
    )
    write_element(top, "devel", "filter", "config:\n  include: [devel]\n", build=["greet"])
    write_element(
        top,
        "image",
        "script",
        "config:\n  layout:\n  - element: tools.bst\n    destination: /\n  - element: all.bst\n    destination: /system\n"
        "  - element: devel.bst\n    destination: /headers\n  - element: ''\n    destination: /scratch\n"
        "  commands:\n"
        "  - |\n    cd /system; find . | sort > %{install-root}/list; cat etc/one etc/dir/x > %{install-root}/texts; cp -a . %{install-root}/copy\n"
        "  - |\n    echo more >> /system/etc/one; cat /system/etc/one > %{install-root}/appended; ls -la /headers/usr/include | wc -l\n"
        "  - |\n    cat /etc/order > %{install-root}/order; touch /scratch/x /written; rm /system/from-source; ls / /scratch > %{install-root}/top\n",
        build=["tools", "all", "devel"],
    )
    write_element(
        top,
        "again",
        "script",
        "config:\n  root-read-only: true\n  create-dev-shm: true\n  commands:\n"
        "  - |\n    echo x > /dev/shm/x; if echo x 2>/dev/null > /etc/new; then echo writable; fi; cat /etc/order > %{install-root}/order; ls /dev/shm\n",
        build=["hello"],
    )
    write_listing(top, "listing", build=["all"])
    write_listing(top, "listing-whole", build=["base", "runtime", "devel"])


TARGETS = ("listing", "listing-whole", "whole", "no-doc", "image", "again")
