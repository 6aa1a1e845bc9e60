"""Axolotl's keys by what becomes of them here, from its documentation and published schema (0.18)."""

_KEPT = "what a run leaves behind is kept in the workspace, by digest"
_QUICK = "how the engine is quick is its own choice; results are the same"
_NO_EFFECT = "has no say in what the model becomes"
_LOG = "every step is in the run's metrics"
_LOADED = "the model's own config and tokenizer decide"

IGNORED: dict[str, str] = {
    **dict.fromkeys(("output_dir", "save_total_limit", "save_strategy", "save_only_model", "save_safetensors"), _KEPT),
    **dict.fromkeys(("load_best_model_at_end", "dataset_prepared_path", "hub_strategy", "hub_revision"), _KEPT),
    **dict.fromkeys(("metric_for_best_model", "greater_is_better"), "the validation loss decides"),
    **dict.fromkeys(("strict", "logging_steps", "eval_table_size", "eval_max_new_tokens", "debug"), _NO_EFFECT),
    **dict.fromkeys(("wandb_entity", "wandb_name", "wandb_run_id", "wandb_mode", "wandb_watch"), _LOG),
    **dict.fromkeys(("wandb_log_model", "mlflow_tracking_uri", "mlflow_experiment_name", "mlflow_run_name"), _LOG),
    **dict.fromkeys(("hf_mlflow_log_artifacts", "comet_api_key", "comet_workspace", "comet_project_name"), _LOG),
    **dict.fromkeys(("comet_experiment_key", "comet_mode", "comet_online", "comet_experiment_config"), _LOG),
    **dict.fromkeys(("include_tokens_per_second", "profiler_steps", "gc_steps"), _LOG),
    **dict.fromkeys(("flash_attention", "sdp_attention", "xformers_attention", "flex_attention"), _QUICK),
    **dict.fromkeys(("eager_attention", "attn_implementation", "flash_attn_cross_entropy", "tf32"), _QUICK),
    **dict.fromkeys(("flash_attn_rms_norm", "flash_attn_fuse_qkv", "flash_attn_fuse_mlp", "flash_optimum"), _QUICK),
    **dict.fromkeys(("unsloth_cross_entropy_loss", "unsloth_lora_mlp", "unsloth_lora_qkv", "unsloth_lora_o"), _QUICK),
    **dict.fromkeys(("unsloth_rms_norm", "unsloth_rope", "lora_mlp_kernel", "lora_qkv_kernel"), _QUICK),
    **dict.fromkeys(("lora_o_kernel", "use_kernels", "torch_compile", "torch_compile_backend"), _QUICK),
    # Of its plug-ins for Liger and cut cross-entropy. liger_use_token_scaling is not one of these: it changes the loss.
    **dict.fromkeys(("liger_rope", "liger_rms_norm", "liger_layer_norm", "liger_swiglu", "cut_cross_entropy"), _QUICK),
    **dict.fromkeys(("liger_glu_activation", "liger_cross_entropy", "liger_fused_linear_cross_entropy"), _QUICK),
    **dict.fromkeys(("torch_compile_mode", "gradient_checkpointing_kwargs", "pad_to_sequence_len"), _QUICK),
    **dict.fromkeys(("sample_packing_group_size", "sample_packing_bin_size", "sample_packing_sequentially"), _QUICK),
    **dict.fromkeys(("eval_sample_packing", "group_by_length", "multipack_real_batches", "batch_flattening"), _QUICK),
    **dict.fromkeys(("eval_batch_size", "low_cpu_mem_usage", "experimental_skip_move_to_device"), _QUICK),
    **dict.fromkeys(("dataset_processes", "dataset_num_proc", "dataset_keep_in_memory"), _NO_EFFECT),
    **dict.fromkeys(("dataloader_pin_memory", "dataloader_num_workers", "dataloader_prefetch_factor"), _NO_EFFECT),
    **dict.fromkeys(("dataloader_drop_last", "remove_unused_columns", "accelerator_config"), _NO_EFFECT),
    **dict.fromkeys(("shuffle_merged_datasets", "hf_use_auth_token", "world_size", "local_rank", "ddp"), _NO_EFFECT),
    **dict.fromkeys(("ddp_timeout", "ddp_bucket_cap_mb", "ddp_broadcast_buffers"), _NO_EFFECT),
    **dict.fromkeys(("ddp_find_unused_parameters", "use_ray", "ray_run_name", "ray_num_workers"), _NO_EFFECT),
    **dict.fromkeys(("resources_per_worker", "device", "auto_resume_from_checkpoints"), _NO_EFFECT),
    **dict.fromkeys(("model_type", "type_of_model", "tokenizer_type", "base_model_config"), _LOADED),
    **dict.fromkeys(("tokenizer_use_fast", "tokenizer_legacy", "tokenizer_save_jinja_files"), _LOADED),
    **dict.fromkeys(("is_llama_derived_model", "is_mistral_derived_model", "is_falcon_derived_model"), _LOADED),
    **dict.fromkeys(("is_qwen_derived_model", "cls_model_config", "lora_fan_in_fan_out"), _LOADED),
    **dict.fromkeys(("merge_lora", "merge_method", "lora_on_cpu", "bnb_config_kwargs"), _NO_EFFECT),
    **dict.fromkeys(("gradio_title", "gradio_share", "gradio_server_name", "gradio_server_port"), _NO_EFFECT),
    **dict.fromkeys(("generate_samples", "num_generation_samples", "generation_max_new_tokens", "vllm"), _NO_EFFECT),
    "loss_watchdog_threshold": "a run that is not finite or degenerate stops by itself",
    "loss_watchdog_patience": "a run that is not finite or degenerate stops by itself",
    "dataset_exact_deduplication": "the check `duplicates` finds exact and near duplicates, and says which",
    "trust_remote_code": "remote code never runs; a model that needs it cannot be trained here",
    "adam_epsilon": "1e-8, torch's own, is used",
    "plugins": "plug-ins of theirs are not loaded; what they do to speed has no counterpart here",
    "train_on_eos": "the end token of every trained turn is trained",
    "precompute_ref_log_probs": "always done, once",
    "fsdp_version": "FSDP2 is used",
    "fsdp_final_state_dict_type": "a tuned model is written whole; checkpoints suit any number of processes",
}

_LATER = "leave it out; goldsmith fit says what would make the run fit"
_ELSE = "leave it out, or run it in Axolotl"

UNSUPPORTED: dict[str, tuple[str, str]] = {
    "qlora_sharded_model_loading": ("a base in four bits is not cut into shards", _LATER),
    "sequence_parallel_degree": ("one row is not spread over several devices", _LATER),
    "context_parallel_size": ("one row is not spread over several devices", _LATER),
    "tensor_parallel_size": ("one layer is not spread over several devices", _LATER),
    "optim_args": ("AdamW is the optimiser here", "leave it out"),
    "optim_target_modules": ("AdamW is the optimiser here", "leave it out"),
    "lora_modules_to_save": ("whole modules beside the adapter are not trained", "name layers in adapter.targets"),
    "lora_model_dir": ("an adapter to go on from is not taken", "merge it first and name the folder as base"),
    "lora_target_parameters": ("adapters on single tensors are not supported", "name layers in adapter.targets"),
    "peft_layers_to_transform": ("adapters on some layers only are not supported", "leave it out"),
    "peft": ("LoftQ and other quantisers are not supported", "leave it out"),
    "loraplus_lr_ratio": ("one learning rate for both factors", "leave it out"),
    "relora": ("ReLoRA is not supported", _ELSE),
    "gptq": ("training on GPTQ weights is not supported", "name the unquantised model as base"),
    "special_tokens": ("the tokenizer is used as it is saved", "save the tokenizer with these tokens"),
    "tokens": ("new tokens are not added by this importer", "leave it out"),
    "added_tokens_overrides": ("new tokens are not added by this importer", "leave it out"),
    "resize_token_embeddings_to_32x": ("the vocabulary keeps its size", "leave it out"),
    "eot_tokens": ("stop tokens are read from the template and the generation config", "save them with the model"),
    "default_system_message": ("the tokenizer's own template decides", "put it in the rows"),
    "tokenizer_config": ("another tokenizer than the model's is not taken", "save it in the model's folder"),
    "revision_of_model": ("a revision is not chosen here", "download that revision to a folder and name it as base"),
    "model_revision": ("a revision is not chosen here", "download that revision to a folder and name it as base"),
    "overrides_of_model_config": ("the model's config is used as it is", "change its config.json"),
    "model_config": ("the model's config is used as it is", "change its config.json"),
    "resume_from_checkpoint": ("a checkpoint of theirs cannot be gone on from", "start anew from the base"),
    "curriculum_sampling": ("the order is a function of the seed", "leave it out"),
    "min_sample_len": ("short rows are kept", "leave them out of the file"),
    "max_prompt_len": ("one bound for prompt and answer together", "set max_length"),
    "test_datasets": ("validation rows are a share of the release here", "set validation_share, or examine by an eval"),
    "cosine_min_lr_ratio": ("the schedule falls to zero", "leave it out"),
    "cosine_constant_lr_ratio": ("the schedule falls to zero", "leave it out"),
    "lr_scheduler_kwargs": ("schedules have no settings of their own", "leave it out"),
    "lr_groups": ("one learning rate for all weights", "leave it out"),
    "embedding_lr": ("one learning rate for all weights", "leave it out"),
    "embedding_lr_scale": ("one learning rate for all weights", "leave it out"),
    "auto_find_batch_size": ("the forward's size does not change what is learnt", "set forward_tokens"),
    "fp8": ("training in 8-bit floats is not supported", "bf16"),
    "qat": ("training for later quantisation is not supported", _ELSE),
    "quantization": ("training for later quantisation is not supported", _ELSE),
    "use_pose": ("a stretched context is not supported", _ELSE),
    "s2_attention": ("a stretched context is not supported", _ELSE),
    "rope_scaling": ("a stretched context is not set here", "set it in the model's config.json"),
    "lisa_n_layers": ("LISA is not supported", _ELSE),
    "rpo_alpha": ("a share of plain fine-tuning loss beside DPO's", "train sft first, or orpo"),
    "dpo_use_weighting": ("weighted DPO is not supported", "leave it out"),
    "hub_model_id": ("nothing is uploaded", "upload the promoted model yourself"),
    "push_dataset_to_hub": ("nothing is uploaded", "leave it out"),
    "do_bench_eval": ("answers are not generated by training", "goldsmith examine"),
    "do_causal_lm_eval": ("answers are not generated by training", "goldsmith examine"),
    "processor_type": ("media are not trained", "leave it out"),
    "image_size": ("media are not trained", "leave it out"),
}

_OTHERS = """
adam_beta1 adam_beta2 adam_beta3 adam_epsilon2 adapter axolotl_config_path base_model batch_size bench_dataset
bench_split bf16 bfloat16 chat_template chat_template_jinja cpo_alpha dataset_shard_idx dataset_shard_num datasets
device_map dpo_beta dpo_generate_during_eval dpo_label_smoothing dpo_loss_type dpo_norm_loss dpo_use_logits_to_keep
early_stopping_patience embeddings_skip_upcast eval_causal_lm_metrics eval_steps eval_strategy evals_per_epoch
evaluation_strategy excess_length_strategy fix_untrained_tokens flex_attn_compile_kwargs float16 float32 fp16
gpu_memory_limit gradient_accumulation_steps gradient_checkpointing gradio_max_new_tokens gradio_temperature
heads_k_stride image_resize_algorithm is_preprocess kto_desirable_weight kto_undesirable_weight learning_rate
lisa_layers_attribute lisa_step_interval llama4_linearized_experts load_in_4bit load_in_8bit lora_alpha lora_dropout
lora_r lora_target_linear lora_target_modules loraplus_lr_embedding lr_div_factor lr_quadratic_warmup lr_scheduler
max_grad_norm max_memory max_packed_sequence_len max_steps mean_resizing_embeddings micro_batch_size model_kwargs
model_quantization_config model_quantization_config_kwargs neftune_noise_alpha noisy_embedding_alpha num_epochs
num_labels orpo_alpha overrides_of_model_kwargs peft_autocast_adapter_dtype peft_ensure_weight_tying
peft_init_lora_weights peft_layer_replication peft_layers_pattern peft_trainable_token_indices peft_use_dora
peft_use_rslora pose_max_context_len pose_num_chunks pose_split_on_token_ids preprocess_iterable
pretrain_multipack_attn pretrain_multipack_buffer_size pretraining_dataset pretraining_sample_concatenation
process_reward_model relora_cpu_offload relora_prune_method relora_prune_ratio relora_steps reward_model
ring_attn_func rl rl_beta roles_to_train sample_packing sample_packing_eff_est save_steps saves_per_epoch seed
sequence_len shrink_embeddings simpo_gamma skip_prepare_dataset streaming tokenizer_use_mistral_common torchdistx_path
total_num_tokens total_supervised_tokens train_on_inputs trl unfrozen_parameters use_comet use_mlflow use_tensorboard
use_wandb val_set_size wandb_project warmup_ratio warmup_steps weight_decay
"""
KNOWN = frozenset(_OTHERS.split())
"""Keys of theirs that are named nowhere above, so that a misspelling finds its neighbour."""
