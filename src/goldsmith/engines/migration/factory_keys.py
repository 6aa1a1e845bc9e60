"""LLaMA-Factory's keys by what becomes of them here, from its documentation and argument help (0.9.x), and
transformers' TrainingArguments, which it takes too."""

_KEPT = "what a run leaves behind is kept in the workspace, by digest"
_QUICK = "how the engine is quick is its own choice; results are the same"
_LOG = "every step is in the run's metrics"
_ALWAYS = "always done"
_NO_EFFECT = "has no say in what the model becomes"
_SAMPLING = "sampling is set where the model is examined or served"

IGNORED: dict[str, str] = {
    **dict.fromkeys(("output_dir", "overwrite_output_dir", "run_name", "logging_dir", "save_total_limit"), _KEPT),
    **dict.fromkeys(("save_only_model", "save_safetensors", "save_strategy", "load_best_model_at_end"), _KEPT),
    **dict.fromkeys(("metric_for_best_model", "greater_is_better"), "the validation loss decides"),
    **dict.fromkeys(("do_train", "do_eval"), _ALWAYS),
    **dict.fromkeys(("ddp_timeout", "ddp_find_unused_parameters", "local_rank", "ray_num_workers"), _NO_EFFECT),
    **dict.fromkeys(("ray_run_name", "ray_storage_path", "resources_per_worker", "placement_strategy"), _NO_EFFECT),
    **dict.fromkeys(("ray_init_kwargs", "master_addr", "master_port", "ray_num_cpus_per_worker"), _NO_EFFECT),
    **dict.fromkeys(("overwrite_cache", "preprocessing_num_workers", "preprocessing_batch_size"), "rows are cached"),
    **dict.fromkeys(("dataloader_num_workers", "dataloader_pin_memory", "cache_dir", "tokenized_path"), _NO_EFFECT),
    **dict.fromkeys(("dataloader_drop_last", "dataloader_prefetch_factor", "use_cache", "buffer_size"), _NO_EFFECT),
    **dict.fromkeys(("logging_steps", "logging_strategy", "plot_loss", "logging_first_step", "log_level"), _LOG),
    **dict.fromkeys(("include_num_input_tokens_seen", "include_effective_tokens_per_second"), _LOG),
    **dict.fromkeys(("compute_accuracy", "print_param_status", "disable_tqdm", "data_seed"), _NO_EFFECT),
    **dict.fromkeys(("per_device_eval_batch_size", "eval_accumulation_steps"), _NO_EFFECT),
    **dict.fromkeys(("flash_attn", "use_unsloth", "use_unsloth_gc", "enable_liger_kernel", "tf32"), _QUICK),
    **dict.fromkeys(("use_reentrant_gc", "gradient_checkpointing", "gradient_checkpointing_kwargs"), _QUICK),
    **dict.fromkeys(("use_v1_kernels", "low_cpu_mem_usage", "torch_compile", "group_by_length"), _QUICK),
    **dict.fromkeys(("use_fast_tokenizer", "upcast_layernorm", "upcast_lmhead_output"), _ALWAYS),
    **dict.fromkeys(("ignore_pad_token_for_loss", "remove_unused_columns"), _ALWAYS),
    **dict.fromkeys(("infer_backend", "infer_dtype", "use_kv_cache", "offload_folder", "vllm_maxlen"), _SAMPLING),
    **dict.fromkeys(("vllm_gpu_util", "vllm_enforce_eager", "vllm_max_lora_rank", "vllm_config"), _SAMPLING),
    **dict.fromkeys(("sglang_maxlen", "sglang_mem_fraction", "sglang_tp_size", "sglang_config"), _SAMPLING),
    **dict.fromkeys(("do_sample", "temperature", "top_p", "top_k", "num_beams", "max_new_tokens"), _SAMPLING),
    **dict.fromkeys(("repetition_penalty", "length_penalty", "skip_special_tokens", "max_length"), _SAMPLING),
    **dict.fromkeys(("use_swanlab", "swanlab_project", "swanlab_run_name", "swanlab_mode", "swanlab_api_key"), _LOG),
    **dict.fromkeys(("swanlab_workspace", "swanlab_logdir", "swanlab_lark_webhook_url", "swanlab_lark_secret"), _LOG),
    **dict.fromkeys(("hf_hub_token", "ms_hub_token", "om_hub_token"), "tokens are read from the environment alone"),
    **dict.fromkeys(("optim_args", "ref_model_quantization_bit", "pissa_iter", "pissa_convert"), _NO_EFFECT),
    **dict.fromkeys(
        ("quantization_method", "quantization_type", "double_quantization"), "NF4 with double quantisation"
    ),
    **dict.fromkeys(("media_dir", "image_max_pixels", "image_min_pixels", "video_max_pixels"), "no media are trained"),
    **dict.fromkeys(("video_min_pixels", "video_fps", "video_maxlen", "crop_to_patches"), "no media are trained"),
    **dict.fromkeys(("freeze_vision_tower", "freeze_multi_modal_projector"), "no media are trained"),
    "trust_remote_code": "remote code never runs; a model that needs it cannot be trained here",
    "adam_epsilon": "1e-8, torch's own, is used",
    "split_special_tokens": "control tokens that a user types are text, always",
    "disable_shuffling": "the order is a function of the seed and of the rows' content",
    "eval_on_each_dataset": "the examination says more than a loss",
}

_TRACK = "leave it out, or run it in LLaMA-Factory"
_OTHER_WAY = ("this way of training is not supported", _TRACK)
_LATER = "leave it out; goldsmith fit says what would make the run fit"

UNSUPPORTED: dict[str, tuple[str, str]] = {
    "adapter_name_or_path": ("an adapter to go on from is not taken", "merge it first and name the folder as base"),
    "adapter_folder": ("an adapter to go on from is not taken", "merge it first and name the folder as base"),
    "create_new_adapter": ("an adapter on an adapter is not supported", "merge the first one and name it as base"),
    "resume_from_checkpoint": ("a checkpoint of theirs cannot be gone on from", "start anew from the base"),
    "ref_model": ("the reference is the base model itself", "leave it out, or make it the base"),
    "ref_model_adapters": ("the reference is the base model itself", "merge them into the base"),
    "eval_dataset": ("validation rows are a share of the release here", "set validation_share, or examine by an eval"),
    "max_samples": ("a file is taken in whole", "cut the file and name the part as a source"),
    "streaming": ("files are read in batches anyway; hub streams are not read", "download the data to a file"),
    "mix_strategy": ("sources are trained together, each row once an epoch", "repeat or cut a file to weigh it"),
    "interleave_probs": ("sources are not weighed against each other", "repeat or cut a file to weigh it"),
    "resize_vocab": ("new tokens are not added by this importer", "leave it out"),
    "add_tokens": ("new tokens are not added by this importer", "leave it out"),
    "add_special_tokens": ("new tokens are not added by this importer", "leave it out"),
    "new_special_tokens_config": ("new tokens are not added by this importer", "leave it out"),
    "additional_target": ("whole modules beside the adapter are not trained", "name layers in adapter.targets"),
    "loraplus_lr_ratio": ("one learning rate for both factors", "leave it out"),
    "rope_scaling": ("a stretched context is not set here", "set it in the model's config.json"),
    "shift_attn": ("LongLoRA's attention is not supported", "leave it out"),
    "mixture_of_depths": ("mixture of depths is not supported", "leave it out"),
    "moe_aux_loss_coef": ("the router's balance loss is not added", "leave it out"),
    "train_from_scratch": ("weights are loaded, never drawn at random", "save a fresh model and name it as base"),
    "model_revision": ("a revision is not chosen here", "download that revision to a folder and name it as base"),
    "lr_scheduler_kwargs": ("schedules have no settings of their own", "leave it out"),
    "label_smoothing_factor": ("labels are not smoothed", "leave it out"),
    "tool_format": ("tool calls are written by the tokenizer's own template", "leave it out"),
    "ld_alpha": ("LD-DPO is not supported", "leave it out"),
    "pref_bco_weight": ("BCO beside DPO is not supported", "take the loss bco_pair, or leave it out"),
    "fp8": ("training in 8-bit floats is not supported", "bf16"),
    "quantization_device_map": ("a device map is not set", "leave it out"),
    "do_predict": ("answers are not generated by training", "goldsmith examine"),
    "predict_with_generate": ("answers are not generated by training", "goldsmith examine"),
    "push_to_hub": ("nothing is uploaded", "upload the promoted model yourself"),
    "hub_model_id": ("nothing is uploaded", "upload the promoted model yourself"),
    "export_dir": ("this is a training recipe", "goldsmith serve, or the model's folder in the workspace"),
    **dict.fromkeys(("use_galore", "use_apollo", "use_badam", "use_adam_mini", "use_muon"), _OTHER_WAY),
    **dict.fromkeys(("use_dft_loss", "use_asft_loss", "use_eaft_loss", "use_mca", "use_megatron_bridge"), _OTHER_WAY),
    **dict.fromkeys(("use_hyper_parallel", "use_kt", "num_mtp_layers", "freeze_language_model"), _OTHER_WAY),
    **dict.fromkeys(("use_llama_pro", "train_mm_proj_only"), _OTHER_WAY),
}  # fmt: skip

_OTHERS = """
adam_beta1 adam_beta2 apollo_layerwise apollo_proj apollo_proj_type apollo_rank apollo_scale apollo_scale_front
apollo_scale_type apollo_target apollo_update_interval asft_alpha audio_sampling_rate badam_mask_mode badam_mode
badam_start_block badam_switch_interval badam_switch_mode badam_update_ratio badam_verbose bf16 chunk_size cpu_infer
cutoff_len dataset dataset_dir default_system disable_gradient_checkpointing dpo_label_smoothing eaft_alpha
early_stopping_steps enable_thinking enable_torch_profiler eval_num_beams eval_steps eval_strategy export_device
export_hub_model_id export_legacy_format export_quantization_bit export_quantization_dataset
export_quantization_maxlen export_quantization_nsamples export_size finetuning_type fp16 fp8_backend
fp8_enable_fsdp_float8_all_gather freeze_extra_modules freeze_trainable_layers freeze_trainable_modules
galore_layerwise galore_proj_type galore_rank galore_scale galore_target galore_update_interval
gradient_accumulation_steps hyper_parallel_args hyper_parallel_cp_size image_do_pan_and_scan init_special_tokens
kt_force_think kt_maxlen kt_mode kt_optimize_rule kt_use_cuda_graph kto_chosen_weight kto_rejected_weight
learning_rate lora_alpha lora_dropout lora_rank lora_target loraplus_lr_embedding lr_scheduler_type mask_history
max_grad_norm max_steps mode model_name_or_path module_dropout mtp_loss_weight neat_packing neftune_noise_alpha
num_train_epochs oft_block_size oft_rank oft_target packing per_device_train_batch_size pissa_init ppo_buffer_size
ppo_epochs ppo_score_norm ppo_target ppo_whiten_rewards pref_beta pref_ftx pref_loss profile_modules
profiler_active_steps profiler_output_dir profiler_repeat profiler_wait_steps profiler_warmup_steps pure_bf16
quantization_bit report_to reward_model reward_model_adapters reward_model_quantization_bit reward_model_type
save_steps seed sglang_lora_backend simpo_gamma stage template train_on_prompt use_audio_in_video use_dora use_rslora
val_size warmup_ratio warmup_steps weight_decay
"""
KNOWN = frozenset(_OTHERS.split())
"""Keys of theirs that are named nowhere above, so that a misspelling finds its neighbour."""
