# meshnet.sh: a MeshNet made here, for tests (". meshnet.sh"): a voxel is label 1 where the scaled image is above 0.5. Writes threshold.bin too.
floats() { for v in "$@"; do case $v in 0) printf '\0\0\0\0' ;; 1) printf '\0\0\200\077' ;; -1) printf '\0\0\200\277' ;; half) printf '\0\0\0\277' ;; esac; done; }
threshold_model()
{
    { floats 1 half; floats -1 1; floats 0 0; } > threshold.bin
    cat <<'X'
{"modelTopology": {"model_config": {"class_name": "Functional", "config": {"layers": [
 {"class_name": "InputLayer", "config": {"name": "in", "batch_input_shape": [null, 256, 256, 256, 1]}, "inbound_nodes": []},
 {"class_name": "Conv3D", "config": {"name": "a", "filters": 1, "kernel_size": [1,1,1], "strides": [1,1,1], "dilation_rate": [1,1,1], "padding": "same",
  "data_format": "channels_last", "activation": "linear", "use_bias": true}, "inbound_nodes": [[["in", 0, 0, {}]]]},
 {"class_name": "Conv3D", "config": {"name": "b", "filters": 2, "kernel_size": [1,1,1], "strides": [1,1,1], "dilation_rate": [1,1,1], "padding": "same",
  "data_format": "channels_last", "activation": "linear", "use_bias": true}, "inbound_nodes": [[["a", 0, 0, {}]]]}]}}},
 "weightsManifest": [{"paths": ["threshold.bin"], "weights": [{"name": "a/kernel", "shape": [1,1,1,1,1], "dtype": "float32"}, {"name": "a/bias", "shape": [1], "dtype": "float32"},
  {"name": "b/kernel", "shape": [1,1,1,1,2], "dtype": "float32"}, {"name": "b/bias", "shape": [2], "dtype": "float32"}]}]}
X
}
