package sandbox_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"
)

// job is what a program from Debian has to get done in a sandbox.
type job struct {
	name     string
	programs string // that the script needs
	script   string // of sh -ec, in an empty directory that it may write
	want     string // that it prints
	flags    string // of `cloche run`, beside --write .; "" is the default profile
}

// corpus are the programs by which the default filter is judged: whatever of them
// it stops is a finding. Debuggers have the profile that is meant for them.
var corpus = []job{
	{"dash", "dash", `dash -c 'x=0; for i in 1 2 3; do x=$((x + i)); done; echo $x; (exit 3) || echo $?'`, "6\n3\n", ""},
	{"bash", "bash", `bash -c 'a=(1 2 3); echo ${#a[@]}; cat <(echo sub) ; coproc cat; echo hi >&${COPROC[1]}; read -u ${COPROC[0]} l; echo $l'`, "3\nsub\nhi\n", ""},
	{"zsh", "zsh", `zsh -fc 'a=(c a b); echo ${(o)a}; echo *(N) | wc -l; zmodload zsh/datetime && (( EPOCHSECONDS > 0 )) && echo ok'`, "a b c\n1\nok\n", ""},
	{"coreutils", "sort", `seq 100 | sort -rn --parallel=2 | head -1; echo x >a; cp -a a b; mv b c; ln -s c d; stat -c %s d; readlink d; sha256sum c | cut -c1-8; timeout 5 sleep 0; truncate -s 5 c; du -b c | cut -f1; install -m 600 c e; stat -c %a e`, "100\n1\nc\n73cb3858\n5\n600\n", ""},
	{"findutils", "find xargs", `mkdir -p x/y; touch x/1 x/y/2; find x -type f -print0 | xargs -0 -P2 -n1 basename | sort`, "1\n2\n", ""},
	{"grep", "grep", `printf 'ab\ncd\n' >f; grep -rc b . | cut -d: -f2`, "1\n", ""},
	{"sed", "sed", `echo one >f; sed -i s/one/two/ f; cat f`, "two\n", ""},
	{"gawk", "gawk", `echo 1 2 | gawk '{ "echo sub" | getline x; print $1 + $2, x }'`, "3 sub\n", ""},
	{"bc", "bc", `echo '2^64' | bc`, "18446744073709551616\n", ""},
	{"jq", "jq", `echo '{"a":[1,2]}' | jq -c '.a|add'`, "3\n", ""},
	{"diffutils and patch", "diff patch", `echo a >a; echo b >b; diff -u a b >p || true; patch -s a p; cmp a b && echo same`, "same\n", ""},
	{"m4", "m4", `echo 'define(x, 42)x' | m4`, "42\n", ""},
	{"file", "file", `echo '#!/bin/sh' >f; file -b --mime-type f`, "text/x-shellscript\n", ""},
	{"tar and gzip", "tar gzip", `echo hi >f; tar czf t.tgz f; rm f; tar xzf t.tgz; cat f`, "hi\n", ""},
	{"bzip2", "bzip2", `echo hi | bzip2 | bzip2 -d`, "hi\n", ""},
	{"xz", "xz", `seq 100000 | xz -T2 | xz -dT2 | tail -1`, "100000\n", ""},
	{"zstd", "zstd", `seq 100000 | zstd -qT2 | zstd -qd | tail -1`, "100000\n", ""},
	{"zip", "zip unzip", `echo hi >f; zip -q z f; unzip -p z f`, "hi\n", ""},
	{"perl", "perl", `perl -MPOSIX -MSocket -e 'my $p = fork; if (!$p) { exit 7 } waitpid $p, 0; socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, 0) or die; print floor($? >> 8), "\n"; print scalar(localtime) ? "t\n" : ""'`, "7\nt\n", ""},
	{"python3", "python3", `python3 -c '
import asyncio, concurrent.futures, mmap, select, signal, sqlite3, tempfile, time, fcntl, resource
async def f():
    p = await asyncio.create_subprocess_exec("echo", "hi", stdout=-1); print((await p.communicate())[0].decode(), end="")
asyncio.run(f())
with concurrent.futures.ProcessPoolExecutor(2) as e: print(sum(e.map(abs, [-1, -2])))
print(sqlite3.connect(":memory:").execute("select 1+1").fetchone()[0])
'`, "hi\n3\n2\n", ""},
	{"node", "node", `node -e 'const {Worker} = require("worker_threads"); const cp = require("child_process"); new Worker("require(\"worker_threads\").parentPort.postMessage(1)", {eval: true}).on("message", m => { require("fs").writeFileSync("f", "x"); console.log(m, cp.execSync("echo hi").toString().trim()) })'`, "1 hi\n", ""},
	{"ruby", "ruby", `ruby -e 'puts Thread.new { 40 + 2 }.value; puts IO.popen("echo hi").read; pid = fork { exit 3 }; Process.wait pid; puts $?.exitstatus'`, "42\nhi\n3\n", ""},
	{"lua", "lua5.4", `lua5.4 -e 'print(#io.popen("echo hi"):read("a"), math.maxinteger)'`, "3\t9223372036854775807\n", ""},
	{"php", "php", `php -r 'echo array_sum([1, 2]), trim(shell_exec("echo hi")), PHP_EOL;'`, "3hi\n", ""},
	{"java", "java keytool", `keytool -J-Xmx64m -genkeypair -keyalg EC -alias a -dname CN=x -keystore k -storepass secret 2>/dev/null; keytool -list -keystore k -storepass secret | grep -c PrivateKeyEntry; java --version | cut -c1-7 | head -1`, "1\nopenjdk\n", ""},
	{"gcc", "gcc", `printf '#include <stdio.h>\n#include <math.h>\nint main(int c, char **v) { printf("%%.0f\\n", sqrt(c * 16)); }' >m.c; gcc -O2 -pipe -o m m.c -lm; ./m`, "4\n", ""},
	{"make", "make", `printf 'all: a b\n\t@cat a b\na b:\n\t@echo $@ >$@\n' >Makefile; make -sj2`, "a\nb\n", ""},
	{"cmake", "cmake make gcc", `printf 'cmake_minimum_required(VERSION 3.10)\nproject(p C)\nadd_executable(m m.c)\n' >CMakeLists.txt; echo 'int main(void) { return 5; }' >m.c; cmake -S . -B b >/dev/null; cmake --build b >/dev/null; b/m || echo $?`, "5\n", ""},
	{"bison", "bison", `printf '%%%%\nx: ;\n%%%%\n' >g.y; bison -o g.c g.y; grep -c 'int$' g.c | grep -q . && echo made`, "made\n", ""},
	{"binutils", "as ld objdump nm", `printf '.globl _start\n_start: nop\n' >a.s; as -o a.o a.s; ld -o a a.o; nm a | grep -c ' _start'; objdump -d a | grep -c nop`, "1\n1\n", ""},
	{"git", "git", `git init -q r; cd r; git config user.name n; git config user.email n@example.org; echo 1 >f; git add f; git commit -qm one; git gc -q; git clone -q . ../c; cd ../c; git log --format=%s; git fsck`, "one\n", ""},
	{"curl", "curl python3", `mkdir s; echo served >s/f; (cd s; exec python3 -um http.server --bind 127.0.0.1 8000 >/dev/null 2>&1) & p=$!; curl -s --retry 50 --retry-delay 0 --retry-connrefused --retry-max-time 20 http://127.0.0.1:8000/f; kill $p`, "served\n", "net private"},
	{"nginx", "/usr/sbin/nginx curl", `mkdir l w; echo page >w/index.html; printf 'daemon off; error_log stderr crit; pid %s/pid; worker_processes 2; events {} http { access_log off; client_body_temp_path %s/l; proxy_temp_path %s/l; fastcgi_temp_path %s/l; uwsgi_temp_path %s/l; scgi_temp_path %s/l; server { listen 127.0.0.1:8080; root %s/w; } }' $PWD $PWD $PWD $PWD $PWD $PWD $PWD >c; nginx -e stderr -c $PWD/c 2>/dev/null & p=$!; curl -s --retry 50 --retry-delay 0 --retry-connrefused --retry-max-time 20 http://127.0.0.1:8080/; kill $p; wait`, "page\n", "net private user 33"},
	{"postgresql", "psql", `b=$(ls -d /usr/lib/postgresql/*/bin | tail -1); d=$(mktemp -d); $b/initdb -D $d/d -U pg -A trust --no-sync >/dev/null; $b/pg_ctl -s -w -D $d/d -l $d/log -o "-k $d -c listen_addresses= -c fsync=off" start; $b/psql -h $d -U pg postgres -Atc 'create table t as select generate_series(1, 10) x; select sum(x) from t'; $b/pg_ctl -s -D $d/d -m fast stop`, "SELECT 10\n55\n", "user 33"},
	{"sqlite3", "sqlite3", `sqlite3 d 'pragma journal_mode=wal; create table t(x); insert into t values(1),(2); select sum(x) from t'`, "wal\n3\n", ""},
	{"openssl", "openssl", `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout k -out c 2>/dev/null; openssl verify -CAfile c c; echo hi | openssl enc -aes-256-cbc -pbkdf2 -k p | openssl enc -d -aes-256-cbc -pbkdf2 -k p`, "c: OK\nhi\n", ""},
	{"ssh-keygen", "ssh-keygen", `ssh-keygen -q -t ed25519 -N '' -f k; ssh-keygen -y -f k | cut -d' ' -f1`, "ssh-ed25519\n", "user 33"},
	{"gpg", "gpg", `export GNUPGHOME=$(mktemp -d); echo hi | gpg -q --batch --yes --passphrase p --pinentry-mode loopback -c -o e 2>/dev/null; gpg -q --batch --passphrase p --pinentry-mode loopback -d e 2>/dev/null; gpg --print-md SHA1 </dev/null | head -c 9`, "hi\nDA39 A3EE", ""},
	{"ffmpeg", "ffmpeg", `ffmpeg -v error -f lavfi -i testsrc=d=0.2:s=64x64:r=5 -threads 2 o.mkv; ffmpeg -v error -i o.mkv -f null - && ffprobe -v error -show_entries stream=width -of csv=p=0 o.mkv`, "64\n", ""},
	{"imagemagick", "convert-im6.q16", `convert-im6.q16 -size 16x16 gradient: -resize 50% o.png; identify-im6.q16 -format '%w %m\n' o.png`, "8 PNG\n", ""},
	{"vim", "vim.tiny", `printf 'b\na\n' >f; vim.tiny -u NONE -es -c '%sort' -c wq f; cat f`, "a\nb\n", ""},
	{"rsync", "rsync", `mkdir a; echo hi >a/f; rsync -a a/ b/; cat b/f`, "hi\n", ""},
	{"util-linux", "flock", `flock l echo locked; getopt ab: -a -b x | cut -c1-8; setsid -w true && nice -n 5 nice`, "locked\n -a -b x\n5\n", ""},
	{"procps", "ps", `ps -e -o comm= | grep -c ps; free >/dev/null && uptime >/dev/null && echo ok`, "1\nok\n", ""},
	{"strace", "strace", `strace -f -e trace=openat -o t cat /etc/hostname >/dev/null; grep -c 'etc/hostname' t`, "1\n", "profile build"},
	{"gdb", "gdb gcc", `printf 'int f(int x) { return x * 2; }\nint main(void) { return f(21); }\n' >m.c; gcc -g -o m m.c; gdb -q -batch -nx -ex 'break f' -ex run -ex 'print x' ./m 2>/dev/null | grep '^\$1'`, "$1 = 21\n", "profile build"},
}

// TestCorpus has each program do its job.
func TestCorpus(t *testing.T) {
	for _, j := range corpus {
		t.Run(j.name, func(t *testing.T) {
			t.Parallel()
			needs.Programs(t, strings.Fields(j.programs)...)
			corpusJob(t, j.script, j.want, j.flags)
		})
	}
	t.Run("go", func(t *testing.T) {
		t.Parallel()
		root := goRoot(t)
		corpusJob(t, `export GOCACHE=$PWD/c GOFLAGS=-mod=mod GOTOOLCHAIN=local GOTELEMETRY=off; printf 'module m\ngo 1.20\n' >go.mod
printf 'package main\nfunc main() { c := make(chan int); go func() { c <- 6 }(); println(<-c * 7) }\n' >m.go; `+root+`/bin/go run . 2>&1`, "42\n", "read "+root)
	})
}

// goRoot is the Go toolchain, where this user can read it.
func goRoot(t *testing.T) string {
	for _, dir := range []string{"/usr/local/go", "/usr/lib/go", "/opt/go"} {
		if _, err := os.Stat(filepath.Join(dir, "bin/go")); err == nil {
			return dir
		}
	}
	needs.Skip(t, "go is in none of the places that every user can read")
	return ""
}

func corpusJob(t *testing.T, script, want, flags string) {
	t.Helper()
	p := defaults(t)
	words := strings.Fields(flags)
	if len(words) > 0 && words[0] == "profile" {
		p, _ = policy.Builtin(words[1])
		words = words[2:]
	}
	p = with(t, p, append(words, "write", ".")...)
	c := sandbox.Command(context.Background(), p, "sh", "-ec", script)
	c.Dir = t.TempDir()
	out, err := c.CombinedOutput()
	if err != nil || string(out) != want {
		t.Errorf("%q, %v, want %q", out, err, want)
	}
}
