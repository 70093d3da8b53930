cd /tmp
printf '%s\n' pear apple fig apple cherry > fruit
sort fruit; sort -ru fruit; sort fruit | uniq -c | sort -rn | head -2
printf '10 b\n9 a\n100 c\n' | sort -n; printf 'x:3\ny:1\nz:2\n' | sort -t: -k2n
wc -l < fruit; wc -w fruit; wc fruit | tr -s ' '
head -2 fruit; head -n1 fruit; tail -2 fruit; tail -n +4 fruit; head -c 3 fruit; echo; tail -c 4 fruit
grep -n ap fruit; grep -c apple fruit; grep -v e fruit; grep -E '^(fig|pear)$' fruit; grep -F . fruit; echo $?
grep -q fig fruit && echo found; grep -i FIG fruit; grep -l fig fruit; grep -o 'p[a-z]*' fruit; grep -e fig -e pear fruit
mkdir -p d/e/f; echo one > d/a.txt; echo two > d/e/b.txt; touch d/e/f/c.log
grep -r o d | sort; find d | sort; find d -name '*.txt' -type f | sort; find d -type d -maxdepth 1 | sort
find d -name '*.log' -exec echo found {} \;; find d -name '*.txt' | sort | xargs cat
ls d d/e; ls -1 d; ls nonexistent 2>/dev/null; echo $?
cp d/a.txt d/copy; mv d/copy d/moved; cat d/moved; cp -r d d2; find d2 | sort; rm -r d2; ls d2 2>/dev/null; echo $?
rmdir d/e 2>/dev/null || echo 'not empty'; rm -f nonexistent; echo $?
sed 's/a/A/' fruit; sed -n '2,3p' fruit; sed '/fig/d;s/e/E/g' fruit; sed -e '1i\' -e top -e '$a end' fruit | head -2
sed -E 's/(.)(.)/\2\1/' fruit; sed -n '$=' fruit; sed 's/\(p\)\(.*\)/[\2&]/' fruit; sed 2q fruit; echo abc | sed 'y/abc/xyz/'
sed -n '/apple/,/fig/p' fruit; printf 'a\nb\nc\n' | sed 'N;s/\n/-/'; sed -i 's/pear/PEAR/' fruit; head -1 fruit
printf 'a\n\nb\n' | sed '/^$/d'; echo 'path/to/x' | sed 's|/|_|g'; echo aaa | sed 's/a/b/2'; echo hello | sed -n 's/l/L/gp'
cut -d: -f2 <<E
a:b:c
d:e:f
E
echo abcdef | cut -c2-4; echo 'a b c' | cut -d' ' -f1,3; echo hello | tr a-z A-Z; echo hello | tr -d l; echo aabb | tr -s ab
seq 3; seq 2 2 6; seq -s, 3; basename /a/b.c .c; dirname /a/b/c; basename /; dirname x
expr 1 + 2 '*' 3; expr abc : 'a\(.*\)'; expr 5 '>' 3; expr length hello; expr 1 - 1; echo $?
echo hello | tee t1 t2; cat t1 t2; echo a b c | xargs -n1 echo; printf 'x\ny\n' | xargs -I{} echo [{}]
echo hello | base64; echo aGVsbG8K | base64 -d; printf abc | sha256sum; printf abc | md5sum; printf abc > s; sha256sum s | sha256sum -c
tar cf t.tar d; tar tf t.tar | sort; mkdir out; tar xf t.tar -C out; find out | sort; tar czf t.tgz d; tar xzf t.tgz -O d/a.txt
mkdir out2; tar cf - d | tar -xmf - -C out2; cat out2/d/e/b.txt; cat out2/d/a.txt | gzip -c | gunzip -c
[ -f d/a.txt ] && [ -d d ] && [ ! -e x ] && [ -s d/a.txt ] && echo tests; test -z '' && test -n x && echo strings
date -u -d @0 +%Y-%m-%dT%H:%M:%S; date -u -d '2024-02-29 12:34:56' '+%a %b %e %s %j'
env -i A=1 B=2 env; echo -e 'a\tb' | od -t x1 | head -1; printf 'abc' | hexdump -C | head -1
printf '1\n2\n3\n' | tac; echo abc | rev; ln -s fruit link; readlink link; [ -L link ] && echo link; dd if=s bs=1 count=2 2>/dev/null; echo
yes | head -2; uniq <<E
a
a
b
E
