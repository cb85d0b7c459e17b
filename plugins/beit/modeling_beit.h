// The modules of BEiT, which Data2VecVision shares: Bao et al. 2021, https://arxiv.org/abs/2106.08254
#pragma once

#include "../vit/modeling_vit.h"
#include "configuration_beit.h"

namespace backplane::beit {

struct BeitEmbeddingsImpl : nn::Module {
  Tensor cls_token, mask_token, position_embeddings;
  nn::PatchEmbeddings patch_embeddings;
  nn::Dropout dropout;

  explicit BeitEmbeddingsImpl(const BeitEncoderConfig& c)
      : patch_embeddings(register_module(
            "patch_embeddings", nn::PatchEmbeddings(c.image_size, c.patch_size, c.num_channels, c.hidden_size))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {
    cls_token = register_parameter("cls_token", nn::parameter({1, 1, c.hidden_size}));
    if (c.use_mask_token) mask_token = register_parameter("mask_token", nn::parameter({1, 1, c.hidden_size}));
    if (c.use_absolute_position_embeddings) {
      position_embeddings =
          register_parameter("position_embeddings", nn::parameter({1, patch_embeddings->patches() + 1, c.hidden_size}));
    }
  }

  Size2 grid(const Tensor& pixel_values) const {
    return {pixel_values.size(2) / patch_embeddings->patch[0], pixel_values.size(3) / patch_embeddings->patch[1]};
  }

  // pixel_values [batch, channels, height, width], of any size -> [batch, 1 + patches, hidden]
  Tensor forward(const Tensor& pixel_values, const Tensor& bool_masked_pos) {
    Tensor x = vit::put_mask_tokens(patch_embeddings(pixel_values, true), mask_token, bool_masked_pos);
    x = at::cat({cls_token.expand({x.size(0), -1, -1}), x}, 1);
    if (position_embeddings.defined())
      x = x + vit::positions_for(position_embeddings, 1, patch_embeddings, pixel_values);
    return dropout(x);
  }
};
TORCH_MODULE(BeitEmbeddings);

// Bias by the offset of two patches, with three entries more: class to patch, patch to class, class to class.
struct BeitRelativePositionBiasImpl : nn::Module {
  Size2 window;
  Tensor relative_position_bias_table;

  BeitRelativePositionBiasImpl(Size2 window, int64_t heads)
      : window(window),
        relative_position_bias_table(register_parameter(
            "relative_position_bias_table", nn::parameter({(2 * window[0] - 1) * (2 * window[1] - 1) + 3, heads}))) {}

  // -> [1, heads, 1 + patches, 1 + patches], the table resized where the image is larger or smaller
  Tensor forward(Size2 grid) {
    const int64_t offsets = (2 * grid[0] - 1) * (2 * grid[1] - 1), heads = relative_position_bias_table.size(1),
                  seq = grid[0] * grid[1] + 1;
    Tensor table = relative_position_bias_table;
    if (grid != window) {
      const Tensor map =
          table.slice(0, 0, -3).view({1, 2 * window[1] - 1, 2 * window[0] - 1, heads}).permute({0, 3, 1, 2});
      const Tensor resized = resize(map, {2 * grid[0] - 1, 2 * grid[1] - 1}, Resampling::bilinear);
      table = at::cat({resized.permute({0, 2, 3, 1}).reshape({offsets, heads}), table.slice(0, -3)});
    }
    Tensor index = at::empty({seq, seq}, at::kLong);
    index.slice(0, 1).slice(1, 1).copy_(relative_position_index(grid));
    index[0].fill_(offsets);
    index.select(1, 0).fill_(offsets + 1);
    index[0][0].fill_(offsets + 2);
    return table.index_select(0, index.view({-1})).view({seq, seq, heads}).permute({2, 0, 1}).unsqueeze(0);
  }
};
TORCH_MODULE(BeitRelativePositionBias);

// What every layer of one call shares.
struct Pass {
  Size2 grid;   // of the patches
  Tensor bias;  // shared by all layers, or undefined
  Trace* trace;
};

struct BeitSelfAttentionImpl : nn::Module {
  int64_t heads;
  double dropout;
  AttnImplementation implementation;
  nn::Linear query, key, value;
  BeitRelativePositionBias relative_position_bias{nullptr};

  explicit BeitSelfAttentionImpl(const BeitEncoderConfig& c)
      : heads(c.num_attention_heads),
        dropout(c.attention_probs_dropout_prob),
        implementation(c.attn_implementation),
        query(register_module("query", nn::Linear(c.hidden_size, c.hidden_size))),
        key(register_module("key", nn::Linear(c.hidden_size, c.hidden_size, false))),
        value(register_module("value", nn::Linear(c.hidden_size, c.hidden_size))) {
    if (c.use_relative_position_bias) {
      relative_position_bias = register_module("relative_position_bias",
                                               BeitRelativePositionBias(patch_grid(c.image_size, c.patch_size), heads));
    }
  }

  Tensor forward(const Tensor& x, const Tensor& head_mask, const Pass& pass) {
    Tensor bias = pass.bias;
    if (relative_position_bias) {
      const Tensor own = relative_position_bias(pass.grid);
      bias = bias.defined() ? bias + own : own;
    }
    const Tensor y = attention(split_heads(query(x), heads), split_heads(key(x), heads), split_heads(value(x), heads),
                               {.mask = bias,
                                .dropout = is_training() ? dropout : 0,
                                .implementation = implementation,
                                .probs = pass.trace->next_attention()});
    return merge_heads(head_mask.defined() ? y * head_mask : y);
  }
};
TORCH_MODULE(BeitSelfAttention);

struct BeitAttentionImpl : nn::Module {
  BeitSelfAttention attention;
  vit::ViTOutput output;

  explicit BeitAttentionImpl(const BeitEncoderConfig& c)
      : attention(register_module("attention", BeitSelfAttention(c))),
        output(register_module("output", vit::ViTOutput(c, c.hidden_size))) {}

  Tensor forward(const Tensor& x, const Tensor& head_mask, const Pass& pass) {
    return output(attention(x, head_mask, pass));
  }
};
TORCH_MODULE(BeitAttention);

struct BeitLayerImpl : nn::Module {
  BeitAttention attention;
  vit::ViTIntermediate intermediate;
  vit::ViTOutput output;
  nn::LayerNorm layernorm_before, layernorm_after;
  nn::DropPath drop_path;
  Tensor lambda_1, lambda_2;

  BeitLayerImpl(const BeitEncoderConfig& c, double drop)
      : attention(register_module("attention", BeitAttention(c))),
        intermediate(register_module("intermediate", vit::ViTIntermediate(c))),
        output(register_module("output", vit::ViTOutput(c, c.intermediate_size))),
        layernorm_before(register_module("layernorm_before", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        layernorm_after(register_module("layernorm_after", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        drop_path(register_module("drop_path", nn::DropPath(drop))) {
    if (c.layer_scale_init_value > 0) {
      lambda_1 = register_parameter("lambda_1", nn::parameter({c.hidden_size}));
      lambda_2 = register_parameter("lambda_2", nn::parameter({c.hidden_size}));
    }
  }

  Tensor forward(Tensor x, const Tensor& head_mask, const Pass& pass) {
    const auto scaled = [](const Tensor& h, const Tensor& scale) { return scale.defined() ? scale * h : h; };
    x = x + drop_path(scaled(attention(layernorm_before(x), head_mask, pass), lambda_1));
    return x + drop_path(scaled(output(intermediate(layernorm_after(x))), lambda_2));
  }
};
TORCH_MODULE(BeitLayer);

struct BeitEncoderImpl : nn::Module {
  int64_t heads;
  nn::Layers<BeitLayer> layer{nullptr};
  BeitRelativePositionBias relative_position_bias{nullptr};

  explicit BeitEncoderImpl(const BeitEncoderConfig& c) : heads(c.num_attention_heads) {
    const auto rates = linear_rates(c.drop_path_rate, c.num_hidden_layers);
    if (c.use_shared_relative_position_bias) {
      relative_position_bias = register_module("relative_position_bias",
                                               BeitRelativePositionBias(patch_grid(c.image_size, c.patch_size), heads));
    }
    layer = register_module("layer", nn::Layers<BeitLayer>(c.num_hidden_layers, [&](int64_t i) {
                              return BeitLayer(c, rates[static_cast<size_t>(i)]);
                            }));
  }

  Tensor forward(Tensor x, Size2 grid, const Tensor& head_mask, std::vector<Tensor>* states, Trace& trace) {
    const auto count = static_cast<int64_t>(layer->size());
    const Tensor masks = head_mask_of_layers(head_mask, count, heads, x.scalar_type());
    const Pass pass = {grid, relative_position_bias ? relative_position_bias(grid) : Tensor(), &trace};
    if (states) states->push_back(x);
    for (int64_t i = 0; i < count; ++i) {
      x = (*layer)[static_cast<size_t>(i)](x, masks.defined() ? masks[i] : Tensor(), pass);
      if (states) states->push_back(x);
    }
    return x;
  }
};
TORCH_MODULE(BeitEncoder);

// The normed mean of the patches, or the class token.
struct BeitPoolerImpl : nn::Module {
  nn::LayerNorm layernorm{nullptr};

  explicit BeitPoolerImpl(const BeitEncoderConfig& c) {
    if (c.use_mean_pooling) layernorm = register_module("layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps));
  }

  Tensor forward(const Tensor& x) { return layernorm ? layernorm(x.slice(1, 1).mean(1)) : x.select(1, 0); }
};
TORCH_MODULE(BeitPooler);

struct BeitConvModuleImpl : nn::Module {
  nn::Conv2d conv;
  nn::BatchNorm bn;

  BeitConvModuleImpl(int64_t in, int64_t out, int64_t kernel)
      : conv(register_module("conv",
                             nn::Conv2d(in, out, kernel, nn::Square{.padding = kernel / 2, .with_bias = false}))),
        bn(register_module("bn", nn::BatchNorm(out))) {}

  Tensor forward(const Tensor& x) { return at::relu(bn(conv(x))); }
};
TORCH_MODULE(BeitConvModule);

// UPerNet: Xiao et al. 2018, https://arxiv.org/abs/1807.10221
struct BeitUperHeadImpl : nn::Module {
  nn::Conv2d classifier;
  nn::Layers<nn::Sequence> psp_modules;
  BeitConvModule bottleneck;
  nn::Layers<BeitConvModule> lateral_convs, fpn_convs;
  BeitConvModule fpn_bottleneck;

  explicit BeitUperHeadImpl(const BeitEncoderConfig& c)
      : classifier(register_module("classifier", nn::Conv2d(c.hidden_size, c.num_labels(), 1))),
        psp_modules(register_module(
            "psp_modules", nn::Layers<nn::Sequence>(static_cast<int64_t>(c.pool_scales.size()),
                                                    [&](int64_t i) {
                                                      const int64_t scale = c.pool_scales[static_cast<size_t>(i)];
                                                      return nn::Sequence(
                                                          [scale](const Tensor& x) {
                                                            return at::adaptive_avg_pool2d(x, {scale, scale});
                                                          },
                                                          BeitConvModule(c.hidden_size, c.hidden_size, 1));
                                                    }))),
        bottleneck(register_module(
            "bottleneck",
            BeitConvModule(c.hidden_size * (1 + static_cast<int64_t>(c.pool_scales.size())), c.hidden_size, 3))),
        lateral_convs(register_module("lateral_convs", convs(c, 1))),
        fpn_convs(register_module("fpn_convs", convs(c, 3))),
        fpn_bottleneck(register_module("fpn_bottleneck", BeitConvModule(4 * c.hidden_size, c.hidden_size, 3))) {}

  static nn::Layers<BeitConvModule> convs(const BeitEncoderConfig& c, int64_t kernel) {
    return nn::Layers<BeitConvModule>(3, [&](int64_t) { return BeitConvModule(c.hidden_size, c.hidden_size, kernel); });
  }

  // Four maps, the finest first -> [batch, labels, height, width] of the first.
  Tensor forward(const std::vector<Tensor>& maps) {
    const auto like = [](const Tensor& x, const Tensor& other) {
      return resize(x, {other.size(2), other.size(3)}, Resampling::bilinear);
    };
    std::vector<Tensor> pooled = {maps[3]};
    for (auto& pool : *psp_modules) pooled.push_back(like(pool(maps[3]), maps[3]));
    std::vector<Tensor> x = {(*lateral_convs)[0](maps[0]), (*lateral_convs)[1](maps[1]), (*lateral_convs)[2](maps[2]),
                             bottleneck(at::cat(pooled, 1))};
    for (size_t i = 3; i > 0; --i) x[i - 1] = x[i - 1] + like(x[i], x[i - 1]);
    for (size_t i = 0; i < 3; ++i) x[i] = (*fpn_convs)[i](x[i]);
    for (size_t i = 1; i < 4; ++i) x[i] = like(x[i], x[0]);
    return classifier(fpn_bottleneck(at::cat(x, 1)));
  }
};
TORCH_MODULE(BeitUperHead);

// Convolutions over the third map. Long et al. 2014, https://arxiv.org/abs/1411.4038
struct BeitFCNHeadImpl : nn::Module {
  nn::Layers<BeitConvModule> convs{nullptr};
  BeitConvModule conv_cat{nullptr};
  nn::Conv2d classifier;

  explicit BeitFCNHeadImpl(const BeitEncoderConfig& c)
      : classifier(register_module("classifier", nn::Conv2d(c.auxiliary_channels, c.num_labels(), 1))) {
    convs = register_module("convs", nn::Layers<BeitConvModule>(c.auxiliary_num_convs, [&](int64_t i) {
                              return BeitConvModule(i ? c.auxiliary_channels : c.hidden_size, c.auxiliary_channels, 3);
                            }));
    if (c.auxiliary_concat_input) {
      conv_cat =
          register_module("conv_cat", BeitConvModule(c.hidden_size + c.auxiliary_channels, c.auxiliary_channels, 3));
    }
  }

  Tensor forward(const std::vector<Tensor>& maps) {
    Tensor x = maps[2];
    for (auto& conv : *convs) x = conv(x);
    return classifier(conv_cat ? conv_cat(at::cat({maps[2], x}, 1)) : x);
  }
};
TORCH_MODULE(BeitFCNHead);

// The maps of four layers at four sizes: 4, 2, 1 and 1/2 times the grid of patches.
struct BeitPyramid {
  nn::Sequence fpn1, fpn2;

  BeitPyramid(nn::Module& owner, int64_t hidden, double eps)
      : fpn1(owner.register_module(
            "fpn1", nn::Sequence(up(hidden), nn::BatchNorm(hidden, eps), activation("gelu"), up(hidden)))),
        fpn2(owner.register_module("fpn2", nn::Sequence(up(hidden)))) {}

  static nn::ConvTranspose2d up(int64_t hidden) {
    return nn::ConvTranspose2d(hidden, hidden, 2, nn::ConvOptions<2>{.stride = {2, 2}});
  }

  std::vector<Tensor> operator()(const std::vector<Tensor>& maps) {
    return {fpn1(maps[0]), fpn2(maps[1]), maps[2], at::max_pool2d(maps[3], 2, 2)};
  }
};

constexpr std::array<std::string_view, 5> kImageArguments = {"pixel_values", "head_mask", "interpolate_pos_encoding",
                                                             "output_hidden_states", "output_attentions"};

// `Names` gives kPrefix, the base model's name in classes with a head.
template <class ConfigType, class Names>
struct BeitPreTrained : PreTrainedModel {
  using Config = ConfigType;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override {
    return {.base_model_prefix = Names::kPrefix, .ignore_unexpected = {"relative_position_index$"}};
  }
};

template <class Config, class Names>
struct BeitModelOf : BeitPreTrained<Config, Names> {
  BeitEmbeddings embeddings;
  BeitEncoder encoder;
  nn::LayerNorm layernorm{nullptr};
  BeitPooler pooler{nullptr};

  explicit BeitModelOf(const Config& c, bool add_pooling_layer = true)
      : BeitPreTrained<Config, Names>(c),
        embeddings(this->register_module("embeddings", BeitEmbeddings(c))),
        encoder(this->register_module("encoder", BeitEncoder(c))) {
    if (!c.use_mean_pooling)
      layernorm = this->register_module("layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps));
    if (add_pooling_layer) pooler = this->register_module("pooler", BeitPooler(c));
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "bool_masked_pos");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, this->config());
    const Tensor pixels = inputs.tensor("pixel_values");
    Tensor x = embeddings(pixels, inputs.tensor("bool_masked_pos"));
    x = encoder(x, embeddings->grid(pixels), inputs.tensor("head_mask"), trace.states(), trace);
    if (layernorm) x = layernorm(x);
    ModelOutput output;
    output.set("last_hidden_state", x);
    if (pooler) output.set("pooler_output", pooler(x));
    trace.write(output);
    return output;
  }
};

template <class Model, class Names>
struct BeitClassifierOf : BeitPreTrained<typename Model::Config, Names> {
  using Config = typename Model::Config;
  std::shared_ptr<Model> base_model;
  nn::Linear classifier{nullptr};

  explicit BeitClassifierOf(const Config& c)
      : BeitPreTrained<Config, Names>(c),
        base_model(this->register_module(Names::kPrefix, std::make_shared<Model>(c, true))) {
    if (c.num_labels() > 0) classifier = this->register_module("classifier", nn::Linear(c.hidden_size, c.num_labels()));
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = base_model->forward(inputs.select(kImageArguments));
    const Tensor x = base["pooler_output"];
    return classifier_output(classifier ? classifier(x) : x, inputs, this->config(), base);
  }
};

template <class Model, class Names>
struct BeitSegmenterOf : BeitPreTrained<typename Model::Config, Names> {
  using Config = typename Model::Config;
  const Config& c;
  std::shared_ptr<Model> base_model;
  BeitPyramid pyramid;
  BeitUperHead decode_head;
  BeitFCNHead auxiliary_head{nullptr};

  explicit BeitSegmenterOf(const Config& config)
      : BeitPreTrained<Config, Names>(config),
        c(config),
        base_model(this->register_module(Names::kPrefix, std::make_shared<Model>(c, false))),
        pyramid(*this, c.hidden_size, 1e-5),
        decode_head(this->register_module("decode_head", BeitUperHead(c))) {
    if (!c.out_indices || c.out_indices->size() != 4)
      throw Error(ErrorCode::bad_config, "segmentation needs out_indices of 4 layers, [3, 5, 7, 11] for a base model");
    for (int64_t index : *c.out_indices) {
      if (index < 1 || index > c.num_hidden_layers + 1) {
        throw Error(ErrorCode::bad_config,
                    concat("out_indices has ", index, "; possible are 1 to ", c.num_hidden_layers + 1));
      }
    }
    if (c.use_auxiliary_head) auxiliary_head = this->register_module("auxiliary_head", BeitFCNHead(c));
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, c);
    const Tensor pixels = inputs.tensor("pixel_values"), labels = inputs.tensor("labels");
    std::vector<Tensor> states, maps;
    const Size2 grid = base_model->embeddings->patch_embeddings->grid;
    const Tensor embedded = base_model->embeddings(pixels, Tensor());
    if (base_model->embeddings->grid(pixels) != grid) {
      throw Error(ErrorCode::invalid_value, concat("images of ", pixels.size(2), " x ", pixels.size(3),
                                                   " pixels do not match the model's image_size"));
    }
    base_model->encoder(embedded, grid, inputs.tensor("head_mask"), &states, trace);
    // The indices count from 1, as the reference has it.
    for (int64_t index : *c.out_indices)
      maps.push_back(tokens_to_map(states[static_cast<size_t>(index - 1)].slice(1, 1), grid));
    maps = pyramid(maps);
    const Tensor logits = decode_head->forward(maps);
    ModelOutput output;
    if (labels.defined()) {
      Tensor loss = segmentation_loss(logits, labels, c.semantic_loss_ignore_index);
      if (auxiliary_head) {
        loss = loss + c.auxiliary_loss_weight *
                          segmentation_loss(auxiliary_head->forward(maps), labels, c.semantic_loss_ignore_index);
      }
      output.set("loss", loss);
    }
    output.set("logits", logits);
    if (trace.keeps_hidden_states) trace.hidden_states = states;
    trace.write(output);
    return output;
  }
};

}  // namespace backplane::beit
