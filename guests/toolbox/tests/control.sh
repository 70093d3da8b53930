if true; then echo yes; else echo no; fi
if false; then echo a; elif true; then echo b; else echo c; fi
for i in 1 2 3; do [ $i = 2 ] && continue; echo $i; done
for i in 1 2 3; do if [ $i -eq 2 ]; then break; fi; echo $i; done
i=0; while [ $i -lt 3 ]; do i=$((i+1)); echo w$i; done
until [ $i -le 0 ]; do i=$((i-1)); done; echo $i
for i; do echo arg $i; done
case foo.txt in *.c) echo c;; *.txt|*.md) echo text;; *) echo other;; esac
case x in (y) echo y;; [a-z]) echo letter; esac
f() { echo "f $1 $#"; return 3; }
f one two; echo $?
g() { local v=inner; echo $v; }
v=outer; g; echo $v
true && echo and || echo or; false && echo and || echo or
! true; echo $?; ! false; echo $?
{ echo group; echo two; } | cat
(cd /; x=sub; echo $x); echo "[$x]"
(exit 4); echo $?
for i in 1 2; do for j in a b; do [ $j = b ] && continue 2; echo $i$j; done; done
false; echo $?
true; echo $?
nosuchprogram 2>/dev/null; echo $?
eval 'echo evaluated; a=5'; echo $a
set -- x y z; shift; echo $1 $#; shift 2; echo $#
fact() { if [ $1 -le 1 ]; then echo 1; else echo $(( $1 * $(fact $(($1 - 1))) )); fi; }
fact 10
x=1; x=2 true; echo $x
h() { echo $y; }; y=3 h; echo "[$y]"
test 1 -lt 2 -a 2 -lt 3 && echo both
[ ! -e /nonexistent ] && echo absent
[ "a" = "b" -o -n "x" ]; echo $?
trap 'echo bye $?' EXIT
while :; do break; done; echo after
set -e
false || echo handled
if false; then :; fi
! true
echo still
(false; echo unreachable) || echo in-or
false
echo never
