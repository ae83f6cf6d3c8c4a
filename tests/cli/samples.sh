# samples.sh: every file of the shared samples: what it is read as, the image its own target states, or the sentence that refuses it.
. "$(dirname "$0")/lib.sh"

S=$KR_SHARED/samples
if [ ! -d "$S" ]; then
    skip 'the shared samples' "$S is absent"
    exit 0
fi
seen=
is()        # FILE 'words of kray info'
{
    seen="$seen $1 "
    works "$2" kray info "$S/$1"
}
no()        # FILE CODE 'words of the refusal'
{
    seen="$seen $1 "
    refuses "$2" "$3" kray info "$S/$1"
}

# ---- What each file is ----
is ismrmrd/cpp_full32_with_cppimage.h5 '{x=64 y=32 coil=2}, 2 coils'
is ismrmrd/cpp_phantom32_acc2_cal8_noise.h5 '{x=64 y=32 coil=2 time=2}, 2 coils'
is ismrmrd/py_cart16_noise_wav.mrd '{x=32 y=16 coil=2}, 2 coils'
is ismrmrd/pyclient_saved_images.h5 '{x=16 y=16}'
is mrd_stream/pyclient_cart16_client_to_server.bin '{x=32 y=16 coil=2}, 2 coils'
is mrd_stream/pyclient_cart16_server_to_client.bin '{x=16 y=16}'
is fastmri/multicoil_train_file1000001.h5 '{x=64 y=40 coil=4 slice=3}, 4 coils'
is fastmri/multicoil_test_file1000003_v2.h5 '{x=64 y=40 coil=4 slice=3}, 4 coils'
is fastmri/singlecoil_val_file1000002.h5 '{x=64 y=40 slice=3}, 1 coil'
is fastmri/brain_AXFLAIR_narrow_width24.h5 '{x=64 y=24 coil=4 slice=2}, 4 coils'
is fastmri/submission_file1000003_v2.h5 '{x=32 y=32 slice=3}'
is calgary/e00001s3_P00001.7.h5 '{x=16 y=20 z=18 coil=3}, 3 coils; in image space along x'
is calgary/e00001s3_P00001.7.h5:kspace@x,y,z,coil '{x=16 y=20 z=18 coil=6}'
is calgary/submission_e00001s3_P00001.7.h5 '{x=20 y=18 slice=16}'
is calgary/R5_20x18.npy '{x=18 y=20 z=5}'
is skmtea/MTR_001.h5 '{x=24 y=20 z=8 coil=4 echo=2}, 4 coils; in image space along x'
is skmtea/image_MTR_001.h5 '{x=24 y=20 z=8 echo=2}'
C=cmrxrecon/2023/MultiCoil/Cine/TrainingSet
is $C/FullSample/P001/cine_sax.mat '{x=48 y=32 coil=10 slice=3 time=4}, 10 coils'
is $C/AccFactor04/P001/cine_sax.mat '{x=48 y=32 coil=10 slice=3 time=4}, 10 coils'
is $C/AccFactor04/P001/cine_sax_mask.mat '{x=48 y=32} real'
is cmrxrecon/2023/SingleCoil/Cine/TrainingSet/AccFactor04/P001/cine_sax.mat '{x=48 y=32 slice=3 time=4}, 1 coil'
is cmrxrecon/expected_ranking_from_2023_cine_sax.mat '{x=16 y=16 slice=2 time=3}'
V=cmrxrecon/2024/MultiCoil/Cine/ValidationSet
is $V/Mask_Task1/P001/cine_sax_mask_Uniform8.mat '{x=48 y=32} real'
is $V/Mask_Task2/P001/cine_sax_mask_ktGaussian4.mat '{x=48 y=32 time=4} real'
is $V/UnderSample_Task1/P001/cine_sax_kus_Uniform8.mat '{x=48 y=32 coil=10 slice=3 time=4}, 10 coils'
is $V/UnderSample_Task2/P001/cine_sax_kus_ktGaussian4.mat '{x=48 y=32 coil=10 slice=3 time=4}, 10 coils'
is cmrxrecon/2025/MultiCoil/BlackBlood/TrainingSet/FullSample/Center001/UIH_30T_umr780/P001/blackblood.mat '{x=48 y=32 coil=10 slice=3}, 10 coils'
for i in C F v2; do is arrays/c64_$i.npy '{x=4 y=3 z=2}'; done
is arrays/f64_be.npy '{x=3 y=2}'
is arrays/scalar_i32.npy '{1}'
is arrays/cfl_4_3_2.cfl '{x=4 y=3 z=2}'
is arrays/cfl_4_3_2.hdr '{x=4 y=3 z=2}'
is arrays/bart_phantom8_k_2coil.cfl '{x=8 y=8 coil=2}, 2 coils'
is arrays/bart_phantom8_k_2coil.hdr '{x=8 y=8 coil=2}, 2 coils'
is arrays/bart_phantom8_image.ra '{x=8 y=8}'
is arrays/ra_c64_4_3_2.ra '{x=4 y=3 z=2}'
is arrays/ra_f32_10.ra '{x=10}'
is arrays/nifti1_bigendian_noform.nii '{x=4 y=3 z=2}'
is arrays/nifti1_c64.nii.gz '{x=2 y=3 z=4}'
is arrays/nifti1_i16_scaled.nii '{x=5 y=4 z=3}'
is arrays/nifti2_f32_sformonly.nii '{x=4 y=3 z=2}'
is ct/lodopab_like_ground_truth_train_000.hdf5 '{x=24 y=24 z=4}'
is ct/lodopab_like_observation_train_000.hdf5 'LoDoPaB-CT, parallel beam'

# ---- Files of several variables ----
is arrays/mat5_plain.mat 'c            complex double, 2 x 3 x 4'
is arrays/mat5_zlib.mat 'c            complex single, 2 x 3 x 4'
is ct/dataexchange_cyl.h5 '32 columns x 4 rows'
is ct/htc2022_like_full.mat 'source to axis 410.66 mm'

# ---- What is refused, and why ----
for f in bad_headerlen.safetensors bad_truncated.safetensors tiny.safetensors torch_like_state_dict.pt two_deflated.npz; do
    no arrays/$f 1 'kray weights info describes network weights'
done
no ct/astra_vectors.npz 1 'unknown format'
for f in arrays/orientation_cases.json ismrmrd/expected.json mrd_stream/pyclient_cart16_client_to_server.json mrd_stream/header_cart16.xml ct/rtk_geometry_4proj.xml; do
    no $f 1 'unknown format (it begins with'
done
no mrd_stream/config_file_only_close.bin 1 'the stream holds no acquisitions'
no mrd_stream/gadgetron_style_no_nul.bin 1 'there are no imaging lines (1 noise)'
no mrd_stream/header_before_config.bin 1 'the configuration has to come before it'
no mrd_stream/huge_acquisition_dims.bin 1 'but the stream ends after'
no mrd_stream/huge_length.bin 1 'claims 4294967295 bytes of text'
no mrd_stream/truncated_in_acquisition.bin 1 'but the stream ends after 198 of them'
no mrd_stream/unknown_id.bin 1 'has the id 4711'
works 'tensors     7' kray weights info "$S/arrays/tiny.safetensors"
works 'tensors     3' kray weights info "$S/arrays/torch_like_state_dict.pt"
works 'tensors     2' kray weights info "$S/arrays/two_deflated.npz"
refuses 1 'the header announces 1099511627776 bytes in a file of 584' kray weights info "$S/arrays/bad_headerlen.safetensors"
refuses 1 'should lie at bytes 106 to 108 of 107' kray weights info "$S/arrays/bad_truncated.safetensors"
works '{x=2 y=3 coil=4}' kray info "$S/arrays/mat5_plain.mat:c@x,y,coil"

left=$(cd "$S" && find . -type f ! -name '*.py' | sed 's|^\./||' | while read -r f; do case $seen in *" $f "*) ;; *) echo "$f" ;; esac; done)
check "no sample is left out: $left" [ -z "$left" ]

# ---- Images that the files' own targets state: single precision, so some 1e-7 ----
field() { awk -F, -v column=nrmse 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == column) c = i } $2 == "volume" && $4 == "" { print $c; exit }' scores.csv; }
same()      # TARGET RECON kray eval's options
{
    local target=$1 recon=$2
    shift 2
    works '' kray eval --target "$target" --recon "$recon" --csv scores.csv "$@"
    near "NRMSE of ${recon##*/} to ${target##*/}" "$(field)" 0 1e-6
}
for f in multicoil_train_file1000001 singlecoil_val_file1000002 brain_AXFLAIR_narrow_width24; do
    works 'rss' kray recon "$S/fastmri/$f.h5" -m rss -o $f.h5
    same "$S/fastmri/$f.h5" $f.h5
done
works 'rss' kray recon "$S/calgary/e00001s3_P00001.7.h5" -m rss --to calgary -o calgary.h5
same "$S/calgary/submission_e00001s3_P00001.7.h5" calgary.h5 --protocol calgary
works 'rss' kray recon "$S/$C/FullSample/P001/cine_sax.mat" -m rss -o ranking.mat
same "$S/cmrxrecon/expected_ranking_from_2023_cine_sax.mat" ranking.mat --protocol cmrxrecon2023
works 'adjoint' kray recon "$S/skmtea/MTR_001.h5" -m adjoint --complex -o skmtea.npy
same "$S/skmtea/MTR_001.h5" skmtea.npy
works 'rss' kray recon "$S/ismrmrd/cpp_full32_with_cppimage.h5" -m rss -o full32.npy
same "$S/ismrmrd/cpp_full32_with_cppimage.h5" full32.npy --scale fit          # that tool's transform is not unitary

# ---- Every scan becomes an image, and survives ISMRMRD to the bit ----
for f in ismrmrd/cpp_full32_with_cppimage.h5 ismrmrd/cpp_phantom32_acc2_cal8_noise.h5 ismrmrd/py_cart16_noise_wav.mrd fastmri/singlecoil_val_file1000002.h5 \
         fastmri/multicoil_test_file1000003_v2.h5 cmrxrecon/2023/SingleCoil/Cine/TrainingSet/AccFactor04/P001/cine_sax.mat $V/UnderSample_Task1/P001/cine_sax_kus_Uniform8.mat \
         mrd_stream/pyclient_cart16_client_to_server.bin arrays/bart_phantom8_k_2coil.cfl; do
    works '{x=' kray recon "$S/$f" -o direct.npy
    works '' kray convert "$S/$f" -o through.mrd
    works '{x=' kray recon through.mrd -m rss -o through.npy
    works '{x=' kray recon "$S/$f" -m rss -o straight.npy
    check "${f##*/}: the same image through ISMRMRD" cmp straight.npy through.npy
done

# ---- Siemens raw data: the echo-planar scan, its ghost, and the same through ISMRMRD ----
E=$KR_SHARED/data/mri/phantom_epi_2ch_siemens_twix.dat G=$KR_SHARED/data/mri/phantom_gre_2ch_siemens_twix.dat
if [ -f "$E" ] && [ -f "$G" ]; then
    works 'epi, sampled on ramps' kray info "$E"
    works '{x=320 y=160 coil=2}, 2 coils' kray info "$G"
    works 'ghost: by navigator' kray recon "$E" -o epi.npy
    works '{x=80 y=80}' kray recon "$E" --ghost none -o ghost.npy
    works 'ghost: by svd' kray recon "$E" --ghost svd -o svd.npy
    works '' kray convert "$E" -o epi.mrd
    works 'ghost: by entropy of the rest' kray recon epi.mrd -o through.npy
    check 'the same image through ISMRMRD' cmp epi.npy through.npy
    KR_THREADS=1 kray recon "$E" -o one.npy >/dev/null 2>&1
    check 'and on one thread' cmp epi.npy one.npy
    works '{x=160 y=160}' kray recon "$G" -o gre.npy
    refuses 2 'magic' kray recon "$E" --ghost magic -o magic.npy
else
    skip 'Siemens raw data' "$E is absent"
fi
