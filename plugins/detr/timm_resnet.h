// ResNet under timm's names, as the published checkpoints of DETR and its kin hold their backbones: `conv1`, `bn1`,
// `layer1` … `layer4`. He et al. 2015, https://arxiv.org/abs/1512.03385
#pragma once

#include <backplane/model.h>
#include <backplane/model/vision.h>

namespace backplane::detr {

struct TimmBlockImpl : nn::Module {
  std::vector<nn::Conv2d> convs;
  std::vector<nn::BatchNorm> norms;
  nn::Sequence downsample{nullptr};

  TimmBlockImpl(bool bottleneck, int64_t in, int64_t width, int64_t stride, int64_t dilation, int64_t first_dilation) {
    const int64_t out = bottleneck ? 4 * width : width;
    if (bottleneck) {
      add(in, width, 1, 1, 1);
      add(width, width, 3, stride, first_dilation);
      add(width, out, 1, 1, 1);
    } else {
      add(in, width, 3, stride, first_dilation);
      add(width, width, 3, 1, dilation);
    }
    if (in != out || stride != 1) {
      downsample = register_module(
          "downsample",
          nn::Sequence(nn::Conv2d(in, out, 1, nn::Square{.stride = stride, .with_bias = false}), nn::BatchNorm(out)));
    }
  }

  void add(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t dilation) {
    const std::string place = std::to_string(convs.size() + 1);
    convs.push_back(register_module(
        "conv" + place,
        nn::Conv2d(
            in, out, kernel,
            nn::Square{.stride = stride, .padding = kernel / 2 * dilation, .dilation = dilation, .with_bias = false})));
    norms.push_back(register_module("bn" + place, nn::BatchNorm(out)));
  }

  Tensor forward(const Tensor& x) {
    Tensor h = x;
    for (size_t i = 0; i < convs.size(); ++i) {
      h = norms[i](convs[i](h));
      if (i + 1 < convs.size()) h = at::relu(h);
    }
    return at::relu(h + (downsample ? downsample(x) : x));
  }
};
TORCH_MODULE(TimmBlock);

struct TimmResNetOptions {
  bool bottleneck;
  std::array<int64_t, 4> depths;
  int64_t in_channels = 3;
  int64_t output_stride = 32;                       // 32, 16 or 8: later stages are dilated instead of strided
  std::vector<int64_t> out_indices = {1, 2, 3, 4};  // 0: after the stem, 1 … 4: the stages
};

struct TimmResNetImpl : nn::Module {
  std::vector<int64_t> out_indices, channels;
  nn::Conv2d conv1;
  nn::BatchNorm bn1;
  std::vector<nn::Layers<TimmBlock>> layers;

  explicit TimmResNetImpl(const TimmResNetOptions& o)
      : out_indices(o.out_indices),
        conv1(register_module(
            "conv1", nn::Conv2d(o.in_channels, 64, 7, nn::Square{.stride = 2, .padding = 3, .with_bias = false}))),
        bn1(register_module("bn1", nn::BatchNorm(64))) {
    std::vector<int64_t> all = {64};
    int64_t in = 64, stride_so_far = 4, dilation = 1, before = 1;
    for (size_t stage = 0; stage < 4; ++stage) {
      const int64_t width = int64_t{64} << stage, out = o.bottleneck ? 4 * width : width;
      int64_t stride = stage ? 2 : 1;
      if (stride_so_far >= o.output_stride && stride == 2) {
        dilation *= 2;
        stride = 1;
      }
      stride_so_far *= stride;
      layers.push_back(register_module(
          "layer" + std::to_string(stage + 1), nn::Layers<TimmBlock>(o.depths[stage], [&](int64_t i) {
            return TimmBlock(o.bottleneck, i ? out : in, width, i ? 1 : stride, dilation, i ? dilation : before);
          })));
      before = dilation;
      in = out;
      all.push_back(out);
    }
    for (int64_t index : out_indices) {
      if (index < 0 || index > 4)
        throw Error(ErrorCode::bad_config, concat("backbone_kwargs: out_indices has ", index, "; possible are 0 to 4"));
      channels.push_back(all[static_cast<size_t>(index)]);
    }
  }

  std::vector<Tensor> forward(const Tensor& pixel_values) {
    std::vector<Tensor> all = {at::relu(bn1(conv1(pixel_values)))};
    Tensor x = at::max_pool2d(all[0], 3, 2, 1);
    for (auto& layer : layers) {
      for (auto& block : *layer) x = block(x);
      all.push_back(x);
    }
    std::vector<Tensor> maps;
    for (int64_t index : out_indices) maps.push_back(all[static_cast<size_t>(index)]);
    return maps;
  }
};
TORCH_MODULE(TimmResNet);

// The backbone of that name. Throws `bad_config` for one that is no ResNet.
inline TimmResNet make_timm_resnet(const std::optional<std::string>& name, int64_t channels, const Value& kwargs,
                                   bool dilation) {
  TimmResNetOptions options{};
  const std::string base = name ? name->substr(0, name->find('.')) : "";
  if (base == "resnet18") {
    options = {.bottleneck = false, .depths = {2, 2, 2, 2}};
  } else if (base == "resnet34") {
    options = {.bottleneck = false, .depths = {3, 4, 6, 3}};
  } else if (base == "resnet50") {
    options = {.bottleneck = true, .depths = {3, 4, 6, 3}};
  } else if (base == "resnet101") {
    options = {.bottleneck = true, .depths = {3, 4, 23, 3}};
  } else if (base == "resnet152") {
    options = {.bottleneck = true, .depths = {3, 8, 36, 3}};
  } else {
    throw Error(ErrorCode::bad_config, concat("the timm backbone '", name.value_or(""),
                                              "' is not supported; possible are resnet18, 34, 50, 101 and 152"));
  }
  options.in_channels = static_cast<int64_t>(kwargs.number_or("in_chans", static_cast<double>(channels)));
  options.output_stride = static_cast<int64_t>(kwargs.number_or("output_stride", dilation ? 16 : 32));
  if (const Value* indices = kwargs.find("out_indices"); indices && !indices->is_null())
    options.out_indices = indices->as_int_list();
  if (options.out_indices.empty()) throw Error(ErrorCode::bad_config, "backbone_kwargs: out_indices is empty");
  return TimmResNet(options);
}

}  // namespace backplane::detr
