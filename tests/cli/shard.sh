# shard.sh: a study dealt out to several runs makes the images of one run, each once; kray gather joins what they say and names what is missing.
. "$(dirname "$0")/lib.sh"
export KR_THREADS=1
mkdir -p study/p1 one parts
for k in 1 2 3 4 5 6; do kray simulate shepplogan -q -o study/s$k.h5 -m 32,32 --slices 1 --coils 3 --snr $((20 + k)); done
kray simulate shepplogan -q -o study/p1/long.h5 -m 64,64 --slices 4 --coils 4
recon() { kray recon study/ -q --recursive --to npy --method sense --iterations 8 "$@"; }
recon -o one/
for k in 1 2 3; do works '' recon -o parts/ --shard $k/3; done
check 'every image is there, the same bits' bash -c 'for f in one/*.npy one/p1/*.npy; do cmp $f parts/${f#one/} || exit 1; done; [ $(find one -name "*.npy" | wc -l) = 7 ]'
done_by() { grep -l "\"state\": \"done\"" parts/kray-shard-*.json | wc -l; }
check 'all three had something to do' [ "$(done_by)" = 3 ]
check 'the long scan is alone with its shard' [ "$(grep -c '"state": "done"' "$(grep -l 'long.npy' parts/kray-shard-*.json | while read -r f; do grep -A4 'long.npy' "$f" | grep -q done && echo "$f"; done)")" = 1 ]
works 'images of 7' bash -c "\"$KR_BUILD/tools/kray\" gather parts/ && echo images of 7"
check 'one table' [ "$(grep -c ',done,sense,' parts/kray-table.csv)" = 7 ]
check 'one log, by time' bash -c '[ $(grep -c "shard [123]: " parts/kray-log.txt) -ge 10 ] && cut -c1-19 parts/kray-log.txt | sort -c'
check 'and a list' bash -c "\"$KR_BUILD/tools/kray\" gather parts/ --json -q | grep -c '\"state\": \"done\"' | grep -qx 7"

# ---- What is missing is named ----
rm parts/s3.npy
refuses 1 'missing: s3.npy (of study/s3.h5' kray gather parts/
refuses 1 '1 are missing and 0 failed' kray gather parts/
check 'in the table, too' grep -q 's3.npy,missing' parts/kray-table.csv
for k in 1 2 3; do works '' recon -o parts/ --shard $k/3 --resume; done
works '' kray gather parts/
check 'resume did the missing one alone' bash -c '[ $(grep -c ",done," parts/kray-table.csv) = 1 ] && [ $(grep -c ",already there," parts/kray-table.csv) = 6 ]'
rm parts/kray-shard-2-of-3.json
refuses 1 'shard 2 of 3 left no record: it was not run' kray gather parts/
recon -o parts/ --shard 2/3 --resume
sed -i 's/"ended": true/"ended": false/' parts/kray-shard-1-of-3.json
refuses 1 'shard 1 of 3 has not ended, or was killed' kray gather parts/
recon -o parts/ --shard 1/3 --resume
recon -o parts/ --shard 1/2 --resume
refuses 1 'dealt out twice' kray gather parts/
rm parts/kray-shard-1-of-2.json
kray recon study/ -q --recursive --to npy --method sense --iterations 9 -o parts/ --shard 3/3
refuses 1 'do not belong together' kray gather parts/
rm -r parts; mkdir parts
head -c 3000 study/s2.h5 >broken; mv broken study/s2.h5
status=0
for k in 1 2; do recon -o parts/ --shard $k/2; status=$((status + $?)); done 2>/dev/null
check 'a bad file fails in one shard' [ $status = 1 ]
refuses 1 '0 are missing and 1 failed; 0 of 2 shards' kray gather parts/
check 'its sentence is in the table' grep -q 's2.npy,failed.*s2.h5' parts/kray-table.csv
refuses 1 'holds no records of runs' kray gather one/
echo '{}' >one/kray-shard-1-of-1.json
refuses 1 'is no record of a run' kray gather one/

# ---- Which run it is ----
refuses 2 'I/N with 1 <= I <= N is wanted' recon -o parts/ --shard 0/3
refuses 2 'I/N with 1 <= I <= N is wanted' recon -o parts/ --shard 4/3
refuses 2 'I/N with 1 <= I <= N is wanted' recon -o parts/ --shard 2
refuses 2 'one file was given' kray recon study/s1.h5 -o x.npy --shard 1/2
refuses 2 'SLURM_ARRAY_TASK_ID is not set' recon -o parts/ --shard slurm
slurm() { SLURM_ARRAY_TASK_ID=$1 SLURM_ARRAY_TASK_MIN=$2 SLURM_ARRAY_TASK_MAX=$3 SLURM_ARRAY_TASK_STEP=$4 SLURM_ARRAY_TASK_COUNT=$5 "${@:6}"; }
slurm 7 3 9 2 4 "$KR_BUILD/tools/kray" recon study/ -o parts/ --shard slurm --plan 2>slurm.log >/dev/null
check 'task 7 of 3, 5, 7, 9 is run 3 of 4' grep -q 'shard 3 of 4: ' slurm.log
refuses 2 'the array has gaps (2 tasks, and from 3 to 7' slurm 7 3 7 1 2 "$KR_BUILD/tools/kray" recon study/ -o parts/ --shard slurm
refuses 2 'the array has gaps' slurm 7 3 8 2 3 "$KR_BUILD/tools/kray" recon study/ -o parts/ --shard slurm
check 'a task of an array is no shard unless asked' bash -c 'SLURM_ARRAY_TASK_ID=1 SLURM_ARRAY_TASK_MIN=1 SLURM_ARRAY_TASK_MAX=2 SLURM_ARRAY_TASK_STEP=1 SLURM_ARRAY_TASK_COUNT=2 "$0" recon study/s1.h5 study/s3.h5 -q -o all/ --to npy && [ $(ls all/*.npy | wc -l) = 2 ]' "$KR_BUILD/tools/kray"
