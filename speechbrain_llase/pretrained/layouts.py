"""Names of the tensors in the published layouts, and in ours.

Pretrainer renames every file to `<module>.ckpt`, so layouts are recognised by
content. Every tensor of a file has its place in a module, or stands on a list
of those that enhancement does not need.
"""

# Each list of rules turns the keys of one published layout into ours.
WAVLM_RULES = [
    (r"^wavlm\.", ""),
    # unilm names
    (r"(conv_layers\.\d+)\.0\.", r"\1.conv."),
    (r"(conv_layers\.\d+)\.2\.1\.", r"\1.layer_norm."),
    (r"^post_extract_proj\.", "feature_projection.projection."),
    (r"^layer_norm\.", "feature_projection.layer_norm."),
    (r"^encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.conv."),
    (r"self_attn\.grep_linear", "attention.gru_rel_pos_linear"),
    (r"self_attn\.grep_a", "attention.gru_rel_pos_const"),
    (r"self_attn\.relative_attention_bias", "attention.rel_attn_embed"),
    (r"self_attn_layer_norm", "layer_norm"),
    (r"self_attn\.", "attention."),
    (r"\.fc1\.", ".feed_forward.intermediate_dense."),
    (r"\.fc2\.", ".feed_forward.output_dense."),
    # weight norm before torch.nn.utils.parametrizations
    (r"conv\.weight_g$", "conv.parametrizations.weight.original0"),
    (r"conv\.weight_v$", "conv.parametrizations.weight.original1"),
    (r"^", "wavlm."),
]
WAVLM_IGNORED = [
    r"wavlm\.mask_emb$",  # masks of pre-training
    r"wavlm\.masked_spec_embed$",  # the same in Hugging Face's names
    r"wavlm\.encoder\.layer_norm\.",  # final norm, after the last layer used
]
TOKEN_LM_RULES = [
    (r"^module\.", ""),  # distributed training
    (r"^stage_embedding\.word_embeddings\.", "stage_embedding."),
    (r"^adaLN\.", "stage_norm."),
    (r"^lm\.model\.", "backbone."),
]
TOKEN_LM_IGNORED = [
    r"backbone\.embed_tokens\.",  # LLaMA's vocabulary: features come in
    r"lm\.lm_head\.",  # LLaMA's head: predict_layer is used instead
]
MULTITASK_LM_RULES = [
    (r"^module\.", ""),  # distributed training
    (r"^llama\.model\.", "backbone."),
]
MULTITASK_LM_IGNORED = [
    r"backbone\.embed_tokens\.",  # LLaMA's vocabulary: features come in
    r"llama\.lm_head\.",  # LLaMA's head: two others are used instead
]
TRAINING_ONLY = [  # networks of the codec's training, in its own files
    r"(spec_)?discriminator\.",
    r"SemanticDecoder_module\.",
    r"fc_post_s\.",
    r"model_spk\.",
    r"criteria\.",
]
VOCODER_RULES = [
    (r"^generator\.quantizer\.", "quantizer."),
    (r"^generator\.head\.out\.", "decoder.head.linear."),
    (r"^generator\.backbone\.final_layer_norm\.", "decoder.norm."),
    (r"^generator\.backbone\.transformers\.", "decoder.layers."),
    (r"^generator\.backbone\.", "decoder."),
    (r"\.att_norm\.", ".input_layernorm."),
    (r"\.ffn_norm\.", ".post_attention_layernorm."),
    (r"\.att\.c_proj\.", ".self_attn.o_proj."),
    (r"^fc_post_a\.", "decoder.fc."),
    # transformers names
    (r"^acoustic_decoder\.", "decoder."),
    (r"^quantizer\.project_out\.", "project_out."),
]
VOCODER_IGNORED = [
    r"generator\.head\.istft\.window$",  # computed
    r"quantizer\.project_in\.",  # encoding half, here and below
    r"CodecEnc\.",
    r"SemanticEncoder_module\.",
    r"semantic_model\.",
    r"fc_prior\.",
    r"acoustic_encoder\.",
    r"semantic_encoder\.",
    r"semantic_adapter\.",
    r"fc_encoder\.",
    *TRAINING_ONLY,
]
CODEC_ENCODER_RULES = [
    (r"^SemanticEncoder_module\.initial_conv\.", "semantic_adapter.conv1."),
    (
        r"^SemanticEncoder_module\.residual_blocks\.1\.",
        "semantic_adapter.conv2.",
    ),
    (
        r"^SemanticEncoder_module\.residual_blocks\.3\.",
        "semantic_adapter.conv3.",
    ),
    (r"^SemanticEncoder_module\.final_conv\.", "semantic_adapter.conv4."),
    (r"^CodecEnc\.conv_blocks\.0\.", "acoustic_encoder.conv1."),
    (r"^CodecEnc\.conv_final_block\.0\.", "acoustic_encoder.snake1."),
    (r"^CodecEnc\.conv_final_block\.1\.", "acoustic_encoder.conv2."),
    *(  # block 0 of the transformers form is block 1 of the package's
        (rf"^CodecEnc\.conv_blocks\.{n}\.", f"acoustic_encoder.block.{n - 1}.")
        for n in range(1, 10)
    ),
    *(
        (rf"(block\.\d+)\.block\.{n}\.block\.", rf"\1.res_unit{n + 1}.")
        for n in range(3)
    ),
    (r"(res_unit\d)\.0\.", r"\1.snake1."),
    (r"(res_unit\d)\.1\.", r"\1.conv1."),
    (r"(res_unit\d)\.2\.", r"\1.snake2."),
    (r"(res_unit\d)\.3\.", r"\1.conv2."),
    (r"(encoder\.block\.\d+)\.block\.3\.", r"\1.snake1."),
    (r"(encoder\.block\.\d+)\.block\.4\.", r"\1.conv1."),
    (r"^fc_prior\.", "fc_encoder."),
    (r"^generator\.quantizer\.", "quantizer."),
    (r"^quantizer\.project_in\.", "project_in."),
    # copies that newer versions of the package saved again
    (r"\.parametrizations\.weight\.original0$", ".weight_g"),
    (r"\.parametrizations\.weight\.original1$", ".weight_v"),
    (r"\.act\.bias$", ".act.beta"),
]
CODEC_ENCODER_IGNORED = [
    r"acoustic_encoder\..*\.filter$",  # computed
    r"quantizer\.project_out\.",  # decoding half, here and below
    r"generator\.(backbone|head)\.",
    r"fc_post_a\.",
    r"acoustic_decoder\.",
    r"semantic_encoder\.",  # loaded by load_semantic_encoder
    r"semantic_model\.",
    *TRAINING_ONLY,
]
SEMANTIC_RULES = [
    (
        r"^(semantic_encoder\.|semantic_model\.|bert\.)?"
        r"(?=masked|feature_pro|encoder)",
        "bert.",
    ),
]
SEMANTIC_IGNORED = [
    r"bert\.masked_spec_embed$",  # masks of pre-training
    r"(quantizer|acoustic_decoder|acoustic_encoder|fc_encoder)\.",
    r"semantic_adapter\.",  # with the lines around: the rest of Xcodec2
    r"(generator|CodecEnc|SemanticEncoder_module|fc_prior|fc_post_a)\.",
    *TRAINING_ONLY,
]
