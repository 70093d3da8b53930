cd /tmp
echo one > f; echo two >> f; cat < f
cat f - <<EOF
here $((1+1)) $(echo sub) \$escaped
	tab
EOF
cat <<'EOF'
raw $x $(no) \n
EOF
cat <<-EOF
	stripped
	EOF
{ echo out; echo err >&2; } 2>&1 | cat
{ echo out; echo err >&2; } 2>/dev/null
echo to-stderr 2>&1 >/dev/null | cat
(echo a; echo b) | while read l; do echo "got $l"; done
echo "a b c" | { read x y; echo "$x-$y"; }
printf '%s\n' one 'two  three' | while IFS= read -r l; do echo "[$l]"; done
x=before; echo after | read x; echo $x
f() { while read l; do echo "f:$l"; done; }
echo through | f
echo through | f | f | cat
v=unexported; echo x | { cat; echo $v; } | cat
echo a | cat | cat | cat
echo hi | (cat; echo sub) | cat
! echo x | false; echo $?
true | false; echo $?; false | true; echo $?
a=$(echo x | cat); echo $a
cat <<A <<B
first
A
second
B
cat <<E | while read l; do echo "<$l>"; done
line1
line2
line2
E
exec 3>g; echo three >&3; exec 3>&-; cat g
read x < f; echo $x
while read l; do echo "file $l"; done < f
for i in 1 2 3; do echo $i; done > h; cat h
echo bg > bg.out & wait; cat bg.out
(echo sub > sub.out; exit 3) & wait $!; echo $?
echo "$(cat <<E
in substitution
E
)"
if true; then cat <<E; fi | cat
in if
E
echo x 2>&1 1>/dev/null; echo done
echo globs: *.out f*; echo none: *.zzz "*.out"
printf '%5d|%-5s|%05.1f|%x|%c|%%|%s\n' 42 ab 3.14159 255 xyz end
printf '%s-' a b c; echo
printf 'a\tb\n'; printf '%b\n' 'x\ty'
echo -n no; echo -e ' new\tline'
