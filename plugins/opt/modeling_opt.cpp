// OPT: Zhang et al. 2022, https://arxiv.org/abs/2205.01068
// Decoder with learned positions two places into their table, norms before or after the blocks, and embeddings that may
// be smaller than the states. Reference: transformers, models/opt/modeling_opt.py

#include <backplane/model/decoder.h>
#include <backplane/model/heads.h>

#include "configuration_opt.h"

namespace backplane::opt {

// LayerNorm that may have no parameters.
struct OPTLayerNormImpl : nn::Module {
  int64_t size;
  Tensor weight, bias;

  explicit OPTLayerNormImpl(const OPTConfig& c) : size(c.hidden_size) {
    if (!c.layer_norm_elementwise_affine) return;
    weight = register_parameter("weight", at::empty({size}));
    bias = register_parameter("bias", at::empty({size}));
  }

  Tensor forward(const Tensor& x) {
    return at::layer_norm(x, {size}, weight.defined() ? std::optional<Tensor>(weight) : std::nullopt,
                          bias.defined() ? std::optional<Tensor>(bias) : std::nullopt, 1e-5);
  }
};
TORCH_MODULE(OPTLayerNorm);

struct OPTAttentionImpl : nn::Module {
  int64_t heads;
  size_t layer;
  double dropout;
  nn::Linear k_proj, v_proj, q_proj, out_proj;

  OPTAttentionImpl(const OPTConfig& c, size_t layer)
      : heads(c.num_attention_heads),
        layer(layer),
        dropout(c.attention_dropout),
        k_proj(register_module("k_proj", nn::Linear(c.hidden_size, c.hidden_size, c.enable_bias))),
        v_proj(register_module("v_proj", nn::Linear(c.hidden_size, c.hidden_size, c.enable_bias))),
        q_proj(register_module("q_proj", nn::Linear(c.hidden_size, c.hidden_size, c.enable_bias))),
        out_proj(register_module("out_proj", nn::Linear(c.hidden_size, c.hidden_size, c.enable_bias))) {}

  // x [batch, seq, hidden] -> [batch, seq, hidden]
  Tensor forward(const Tensor& x, DecoderCall& call) {
    return out_proj(merge_heads(call.attend(layer, split_heads(q_proj(x), heads), split_heads(k_proj(x), heads),
                                            split_heads(v_proj(x), heads), {.dropout = is_training() ? dropout : 0})));
  }
};
TORCH_MODULE(OPTAttention);

struct OPTDecoderLayerImpl : nn::Module {
  bool norm_before;
  OPTAttention self_attn;
  OPTLayerNorm self_attn_layer_norm, final_layer_norm;
  nn::Linear fc1, fc2;
  Activation act;
  nn::Dropout dropout;

  OPTDecoderLayerImpl(const OPTConfig& c, size_t layer)
      : norm_before(c.do_layer_norm_before),
        self_attn(register_module("self_attn", OPTAttention(c, layer))),
        self_attn_layer_norm(register_module("self_attn_layer_norm", OPTLayerNorm(c))),
        final_layer_norm(register_module("final_layer_norm", OPTLayerNorm(c))),
        fc1(register_module("fc1", nn::Linear(c.hidden_size, c.ffn_dim, c.enable_bias))),
        fc2(register_module("fc2", nn::Linear(c.ffn_dim, c.hidden_size, c.enable_bias))),
        act(activation(c.activation_function)),
        dropout(register_module("dropout", nn::Dropout(c.dropout))) {}

  Tensor forward(Tensor x, DecoderCall& call) {
    if (norm_before) {
      x = x + dropout(self_attn(self_attn_layer_norm(x), call));
      return x + dropout(fc2(act(fc1(final_layer_norm(x)))));
    }
    x = self_attn_layer_norm(x + dropout(self_attn(x, call)));
    return final_layer_norm(x + dropout(fc2(act(fc1(x)))));
  }
};
TORCH_MODULE(OPTDecoderLayer);

struct OPTDecoderImpl : nn::Module {
  nn::Embedding embed_tokens, embed_positions;
  nn::Linear project_in{nullptr}, project_out{nullptr};
  OPTLayerNorm final_layer_norm{nullptr};
  nn::Layers<OPTDecoderLayer> layers;

  explicit OPTDecoderImpl(const OPTConfig& c)
      : embed_tokens(register_module("embed_tokens", nn::Embedding(c.vocab_size, c.output_size(), c.pad_token_id))),
        embed_positions(
            register_module("embed_positions", nn::Embedding(c.max_position_embeddings + kOffset, c.hidden_size))),
        layers(register_module("layers", nn::Layers<OPTDecoderLayer>(c.num_hidden_layers, [&](int64_t i) {
                                 return OPTDecoderLayer(c, static_cast<size_t>(i));
                               }))) {
    if (c.output_size() != c.hidden_size) {
      project_in = register_module("project_in", nn::Linear(c.output_size(), c.hidden_size, false));
      project_out = register_module("project_out", nn::Linear(c.hidden_size, c.output_size(), false));
    }
    if (c.do_layer_norm_before && !c._remove_final_layer_norm)
      final_layer_norm = register_module("final_layer_norm", OPTLayerNorm(c));
  }

  static constexpr int64_t kOffset = 2;

  Tensor forward(const ModelInputs& inputs, DecoderCall& call) {
    // Positions count what is no padding; padding has the place before the first.
    Tensor positions = call.positions;
    const Tensor mask = call.attention_mask;
    if (!inputs.contains("position_ids") && mask.defined() && mask.dim() == 2) {
      const Tensor counts = mask.to(at::kLong);
      positions = (counts.cumsum(1) * counts - 1).slice(1, call.past);
    }
    Tensor x = (project_in ? project_in(call.x) : call.x) + embed_positions(positions + kOffset);
    for (auto& layer : *layers) {
      call.see(x);
      x = layer(x, call);
    }
    if (final_layer_norm) x = final_layer_norm(x);
    return project_out ? project_out(x) : x;
  }
};
TORCH_MODULE(OPTDecoder);

struct OPTPreTrainedModel : PreTrainedModel {
  using Config = OPTConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct OPTModel : OPTPreTrainedModel {
  const OPTConfig& c;
  OPTDecoder decoder;

  explicit OPTModel(const OPTConfig& config)
      : OPTPreTrainedModel(config), c(config), decoder(register_module("decoder", OPTDecoder(c))) {}

  nn::Embedding get_input_embeddings() override { return decoder->embed_tokens; }
  std::span<const std::string_view> arguments() const override {
    // head_mask is taken and has no effect.
    static constexpr auto kArguments = extend(kDecoderArguments, "head_mask");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    DecoderCall call(inputs, c, c.use_cache, decoder->embed_tokens);
    return call.finish(decoder(inputs, call));
  }
};

struct OPTForCausalLM : CausalLMHead<OPTPreTrainedModel, OPTModel> {
  explicit OPTForCausalLM(const OPTConfig& c) : CausalLMHead(c) {}
};
struct OPTForSequenceClassification : SequenceClassificationHead<OPTPreTrainedModel, OPTModel> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct OPTForQuestionAnswering : QuestionAnsweringHead<OPTPreTrainedModel, OPTModel> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(opt, plugin) {
  plugin.config<OPTConfig>();
  plugin.tokenizer("GPT2Tokenizer", "GPT2TokenizerFast");
  plugin.model<OPTModel>(Auto::Model);
  plugin.model<OPTForCausalLM>(Auto::ForCausalLM);
  plugin.model<OPTForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<OPTForQuestionAnswering>(Auto::ForQuestionAnswering);
}

}  // namespace backplane::opt
