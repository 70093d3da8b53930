x=abc; y="a b  c"; unset z
echo "$x" '$x' \$x "${x}d" ${#x} "${z:-none}" "${z-none}" ${z:+set} ${x:+set}
echo ${z:=assigned} $z
p=/usr/local/lib.tar.gz
echo ${p##*/} ${p%/*} ${p%.*} ${p%%.*} ${p#*/}
echo $y; echo "$y"
for w in $y; do echo "[$w]"; done
set -- "a 1" b "c  3"
echo $# "$1" "$*"
for w in "$@"; do echo "<$w>"; done
for w in $@; do echo "{$w}"; done
for w in "x$@y"; do echo "($w)"; done
IFS=,; v="1,2,,3,"; for w in $v; do echo "f:$w"; done; echo "$*"; unset IFS
echo "a$(echo b; echo c)d" `echo back \`echo quoted\`` "$(echo "nested $(echo "deep")")"
echo $((1 + 2 * 3)) $(( (1 + 2) * 3 )) $((x=5, x*2)) $x $((10 / 3)) $((10 % 3)) $((1 < 2 && 3 > 2)) $((0x10)) $((1 ? 7 : 8))
i=1; i=$((i + 1)); echo $i $((i += 5)) $((i++)) $i
echo "tab	\"quoted\" \\ \` \$HOME" 'single "double"'
echo ~ ~/x "~"
echo a{b}c \* "*" '?'
e=; echo "[$e]" "[${e:-d}]" "[${e-d}]"
echo ${x:-$(echo sub)} "${none:-"quo ted"}" ${none:-un quoted}
s="hello world"; echo ${s#hello } ${s%world}; echo "${s%%o*}" "${s##*o}"
q='*'; case '*' in "$q") echo literal;; esac
case abc in $q) echo star;; esac
echo "$(printf 'a\n\n\n')end"
set --; for w in "$@"; do echo never; done; echo "none:$#" "$@"
n=3; echo ${n}th $n$n
echo ${s:2:3} ${s:6} "${s/o/0}" "${s//o/0}"
echo $'a\tb\'c'
