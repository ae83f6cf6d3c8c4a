# run.sh: kray run: a recipe of steps, what it leaves out when nothing changed, and its refusals.
. "$(dirname "$0")/lib.sh"
export KR_THREADS=1
mkdir study; kray simulate brain -o study/scan.h5 -r study/full.nii.gz --matrix 32,32 --slices 2 -q >/dev/null 2>&1
cat > study/recipe.yaml <<'X'
steps:
  - recon: {input: scan.h5, output: out/image.nii.gz, method: rss}
  - name: mask
    command: 'cp lab.nii.gz {output} && echo copied {input}'
    input: out/image.nii.gz
    output: "out/my labels.nii.gz"
  - eval: {target: full.nii.gz, input: out/image.nii.gz, scale: fit, csv: scores.csv}
X
echo any > study/lab.nii.gz
works 'would run' kray run study/recipe.yaml --plan
check 'a plan runs nothing' [ ! -e study/out/image.nii.gz ]
works '1 recon: done' kray run study/recipe.yaml
check 'all is written' [ -s study/out/image.nii.gz -a -s 'study/out/my labels.nii.gz' -a -s study/scores.csv ]
check 'digests are kept beside the recipe' grep -qE '"key": "[0-9a-f]{64}"' study/recipe.yaml.done.json
works '3 eval: unchanged' kray run study/recipe.yaml
check 'nothing is run again' [ "$(grep -c unchanged "$out")" = 3 ]
sed -i 's/fit/none/' study/recipe.yaml
works '3 eval: done' kray run study/recipe.yaml
check 'but what changed' [ "$(grep -c unchanged "$out")" = 2 ]
rm study/out/image.nii.gz
works '1 recon: done' kray run study/recipe.yaml
check 'what came out as before changes nothing behind it' [ "$(grep -c unchanged "$out")" = 2 ]
works '"unchanged": true' kray run study/recipe.yaml --json
works 'done' kray run study/recipe.yaml --force

recipe() { printf '%s\n' "$@" > r.yaml; }
recipe 'steps:' '  - command: "echo lost; exit 4"'
refuses 1 'step 1 command: ended with status 4; it said last: lost' kray run r.yaml
recipe 'steps:' '  - command: "sleep 60"' '    timeout: 0.3'
refuses 1 'was stopped after 0.3 s' kray run r.yaml
recipe 'steps:' '  - command: "true"' '    output: gone.txt'
refuses 1 'wrote no gone.txt' kray run r.yaml
recipe 'steps:' '  - reckon: {input: a}'
refuses 2 "'reckon' is no command of kray" kray run r.yaml
recipe 'steps:' '  - recon: {input: none.h5, output: a.nii.gz}'
refuses 1 'step 1 recon: ended with status 1; it said last: kray: none.h5' kray run r.yaml
recipe 'steps:' '  - recon: {input: none.h5, output: a.nii.gz, bogus: 3}'
refuses 1 'it said last: kray: there is no option --bogus' kray run r.yaml
recipe 'steps:' '  - command: "touch a; touch ran"' '    output: out/a' '  - {name: again, command: "true", output: ./out//a}'
refuses 2 'steps 1 command and 2 again both write ./out//a' kray run r.yaml
check 'and nothing has run' [ ! -e ran ]
recipe 'steps:' '  - command: "touch ran"' '  - {command: "cat {out}", input: r.yaml}'
refuses 2 '{out} stands for nothing; {input} do' kray run r.yaml
recipe 'stages:' '  - recon: {input: none.h5}'
refuses 1 'no list of steps' kray run r.yaml
recipe 'steps: [' 
refuses 1 'r.yaml: line' kray run r.yaml
refuses 2 'one recipe is wanted' kray run
