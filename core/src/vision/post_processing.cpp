#include "vision/post_processing.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"
#include "vision/pipelines.h"

namespace backplane {
namespace {

constexpr int64_t kLargestEdge = 1 << 16;

// The arguments of one call, by name; `args` is the list of those that the reference takes by position.
class Arguments {
 public:
  explicit Arguments(const Value::Object& given) : given_(given) {}

  const Value* find(std::string_view name, size_t position = 99) const {
    for (const auto& [key, value] : given_) {
      if (key == name) return value.is_null() ? nullptr : &value;
      if (key == "args" && value.is_list() && position < value.as_list().size()) {
        const Value& found = value.as_list()[position];
        return found.is_null() ? nullptr : &found;
      }
    }
    return nullptr;
  }
  double number(std::string_view name, double fallback) const {
    const Value* value = find(name);
    return value == nullptr ? fallback : value->as_double();
  }
  bool flag(std::string_view name, bool fallback) const {
    const Value* value = find(name);
    return value == nullptr ? fallback : value->as_bool();
  }
  // One size a picture, or none at all.
  std::vector<Size> sizes(std::string_view name, int64_t batch, size_t position = 99) const {
    std::vector<Size> out;
    const Value* value = find(name, position);
    if (value == nullptr) return out;
    for (const auto& one : value->as_list()) {
      const auto edges = one.as_int_list();
      if (edges.size() != 2 || edges[0] < 1 || edges[1] < 1 || edges[0] > kLargestEdge || edges[1] > kLargestEdge)
        throw_invalid(concat(name, " has ", one.to_string(), "; expected height and width"));
      out.push_back({edges[0], edges[1]});
    }
    if (static_cast<int64_t>(out.size()) != batch)
      throw_invalid(concat(name, " has ", out.size(), " sizes for a batch of ", batch));
    return out;
  }

 private:
  const Value::Object& given_;
};

using Method = Feature (*)(const ImageProcessor& processor, const ModelOutput& outputs, const Arguments& arguments);

// [.., 4] center x, center y, width, height -> left, top, right, bottom
Tensor corners(const Tensor& boxes) {
  const auto part = boxes.unbind(-1);
  return at::stack({part[0] - part[2] * 0.5, part[1] - part[3] * 0.5, part[0] + part[2] * 0.5, part[1] + part[3] * 0.5},
                   -1);
}

// Boxes of 0 to 1 in pixels of each picture.
Tensor scaled(const Tensor& boxes, const std::vector<Size>& sizes) {
  if (sizes.empty()) return boxes;
  std::vector<Tensor> rows;
  for (const Size size : sizes)
    rows.push_back(at::tensor({size.width, size.height, size.width, size.height}, at::kLong).to(boxes.scalar_type()));
  return boxes * at::stack(rows).unsqueeze(1);
}

Feature detections(const Tensor& scores, const Tensor& labels, const Tensor& boxes, std::optional<double> threshold) {
  Feature::List out;
  for (int64_t i = 0; i < scores.size(0); ++i) {
    Tensor score = scores[i], label = labels[i], box = boxes[i];
    if (threshold) {
      const Tensor keep = score.gt(*threshold);
      score = score.index({keep}), label = label.index({keep}), box = box.index({keep});
    }
    out.push_back(Feature::Dict{{"scores", score}, {"labels", label}, {"boxes", box}});
  }
  return out;
}

// DETR, YOLOS: the best class but "no object".
Feature softmax_detection(const ModelOutput& outputs, const Arguments& a, std::optional<double> threshold) {
  const Tensor& logits = outputs["logits"];
  const auto [scores, labels] = logits.softmax(-1).slice(-1, 0, -1).max(-1);
  return detections(scores, labels, scaled(corners(outputs["pred_boxes"]), a.sizes("target_sizes", logits.size(0), 0)),
                    threshold);
}

Feature detr_detection(const ImageProcessor&, const ModelOutput& outputs, const Arguments& a) {
  return softmax_detection(outputs, a, a.number("threshold", 0.5));
}
Feature detr_detection_old(const ImageProcessor&, const ModelOutput& outputs, const Arguments& a) {
  return softmax_detection(outputs, a, std::nullopt);
}

// Conditional and deformable DETR: the best of all classes of all queries.
Feature topk_detection(const ModelOutput& outputs, const Arguments& a, int64_t k, bool at_most,
                       std::optional<double> threshold) {
  const Tensor& logits = outputs["logits"];
  const Tensor flat = logits.sigmoid().flatten(1);
  if (at_most) k = std::min(k, flat.size(1));
  if (k < 0 || k > flat.size(1))
    throw_invalid(concat("the outputs have ", flat.size(1), " scores, fewer than the ", k, " wanted"));
  const auto [scores, index] = flat.topk(k, 1);
  const Tensor query = at::div(index, logits.size(2), "floor");
  const Tensor boxes = corners(outputs["pred_boxes"]).gather(1, query.unsqueeze(-1).expand({-1, -1, 4}));
  return detections(scores, index.remainder(logits.size(2)), scaled(boxes, a.sizes("target_sizes", logits.size(0), 0)),
                    threshold);
}

Feature deformable_detection(const ImageProcessor&, const ModelOutput& outputs, const Arguments& a) {
  return topk_detection(outputs, a, static_cast<int64_t>(a.number("top_k", 100)), true, a.number("threshold", 0.5));
}
Feature conditional_detection_old(const ImageProcessor&, const ModelOutput& outputs, const Arguments& a) {
  return topk_detection(outputs, a, 300, false, std::nullopt);
}
Feature deformable_detection_old(const ImageProcessor&, const ModelOutput& outputs, const Arguments& a) {
  return topk_detection(outputs, a, 100, false, std::nullopt);
}

// RT-DETR: as many as there are queries.
Feature rt_detr_detection(const ImageProcessor&, const ModelOutput& outputs, const Arguments& a) {
  const Tensor& logits = outputs["logits"];
  const double threshold = a.number("threshold", 0.5);
  if (a.flag("use_focal_loss", true)) return topk_detection(outputs, a, logits.size(1), false, threshold);
  // The reference's softmax without a dimension is over the first of three.
  const auto [scores, labels] = logits.softmax(0).slice(-1, 0, -1).max(-1);
  return detections(scores, labels, scaled(corners(outputs["pred_boxes"]), a.sizes("target_sizes", logits.size(0))),
                    threshold);
}

// OWL-ViT, Grounding DINO: the text that fits best.
Feature text_detection(const ModelOutput& outputs, const Arguments& a, std::optional<double> threshold) {
  const Tensor& logits = outputs["logits"];
  const auto [best, labels] = logits.max(-1);
  return detections(best.sigmoid(), labels,
                    scaled(corners(outputs["pred_boxes"]), a.sizes("target_sizes", logits.size(0), 0)), threshold);
}
Feature owl_detection(const ImageProcessor&, const ModelOutput& outputs, const Arguments& a) {
  return text_detection(outputs, a, a.number("threshold", 0.1));
}
Feature owl_detection_old(const ImageProcessor&, const ModelOutput& outputs, const Arguments& a) {
  return text_detection(outputs, a, std::nullopt);
}

// OWLv2 pads pictures to squares, so boxes are parts of the longer edge.
Feature owlv2_detection(const ImageProcessor&, const ModelOutput& outputs, const Arguments& a) {
  const Tensor& logits = outputs["logits"];
  const auto [best, labels] = logits.max(-1);
  auto sizes = a.sizes("target_sizes", logits.size(0));
  for (auto& size : sizes) size.height = size.width = std::max(size.height, size.width);
  return detections(best.sigmoid(), labels, scaled(corners(outputs["pred_boxes"]), sizes), a.number("threshold", 0.1));
}

// boxes [n, 4] against one [4]
Tensor overlaps(const Tensor& boxes, const Tensor& one) {
  const auto area = [](const Tensor& b) {
    return (b.select(-1, 2) - b.select(-1, 0)) * (b.select(-1, 3) - b.select(-1, 1));
  };
  const Tensor low = at::maximum(boxes.slice(-1, 0, 2), one.slice(-1, 0, 2)),
               high = at::minimum(boxes.slice(-1, 2, 4), one.slice(-1, 2, 4));
  const Tensor edges = (high - low).clamp_min(0);
  const Tensor common = edges.select(-1, 0) * edges.select(-1, 1);
  return common / (area(boxes) + area(one) - common);
}

Feature image_guided(const ModelOutput& outputs, const Arguments& a, bool square) {
  const Tensor& logits = outputs["logits"];
  Tensor scores = std::get<0>(logits.max(-1)).sigmoid();
  Tensor boxes = corners(outputs["target_pred_boxes"]);
  const double limit = a.number("nms_threshold", 0.3), threshold = a.number("threshold", 0);
  if (limit < 1) {
    for (int64_t i = 0; i < boxes.size(0); ++i) {
      const Tensor order = (-scores[i]).argsort();
      for (int64_t j = 0; j < order.numel(); ++j) {
        const int64_t query = order[j].item<int64_t>();
        if (scores[i][query].item<float>() == 0) continue;
        Tensor ious = overlaps(boxes[i], boxes[i][query]);
        ious[query] = -1;
        scores[i].masked_fill_(ious.gt(limit), 0);
      }
    }
  }
  auto sizes = a.sizes("target_sizes", logits.size(0));
  if (square) {
    for (auto& size : sizes) size.height = size.width = std::max(size.height, size.width);
  }
  boxes = scaled(boxes, sizes);
  Feature::List out;
  for (int64_t i = 0; i < boxes.size(0); ++i) {
    Tensor query = scores[i];
    if (query.nonzero().numel() == 0) continue;
    query.masked_fill_(query.lt(threshold), 0);
    const Tensor highest = query.max() + 1e-6;
    const Tensor alphas = ((query - highest * 0.1) / (highest * 0.9)).clamp(0, 1);
    const Tensor keep = alphas.gt(0);
    out.push_back(
        Feature::Dict{{"scores", alphas.index({keep})}, {"labels", Feature()}, {"boxes", boxes[i].index({keep})}});
  }
  return out;
}
Feature owl_image_guided(const ImageProcessor&, const ModelOutput& outputs, const Arguments& a) {
  return image_guided(outputs, a, false);
}
Feature owlv2_image_guided(const ImageProcessor&, const ModelOutput& outputs, const Arguments& a) {
  return image_guided(outputs, a, true);
}

// DETA: non-maximum suppression within each class.
Feature deta_detection(const ImageProcessor&, const ModelOutput& outputs, const Arguments& a) {
  const Tensor& logits = outputs["logits"];
  const int64_t classes = logits.size(2), count = logits.size(1) * classes;
  const double threshold = a.number("threshold", 0.5), limit = a.number("nms_threshold", 0.7);
  const Tensor all = scaled(corners(outputs["pred_boxes"]), a.sizes("target_sizes", logits.size(0)));
  Feature::List out;
  for (int64_t i = 0; i < logits.size(0); ++i) {
    const Tensor flat = logits[i].sigmoid().flatten();
    const Tensor order = std::get<1>(flat.topk(std::min<int64_t>(10000, count)));
    const Tensor scores = flat.index({order}), labels = order.remainder(classes),
                 boxes = all[i].index({at::div(order, classes, "floor")});
    // Boxes of different classes are moved apart, as torchvision's batched_nms does for few boxes.
    const Tensor moved = boxes + (labels.to(boxes.scalar_type()) * (boxes.max() + 1)).unsqueeze(1);
    const Tensor ranked = std::get<1>(at::sort(scores, /*stable=*/true, 0, /*descending=*/true));
    std::vector<int64_t> kept;
    std::vector<bool> gone(static_cast<size_t>(scores.numel()));
    for (int64_t r = 0; r < ranked.numel() && kept.size() < 100; ++r) {
      const int64_t box = ranked[r].item<int64_t>();
      if (gone[static_cast<size_t>(box)]) continue;
      kept.push_back(box);
      const Tensor covered = overlaps(moved, moved[box]).gt(limit).contiguous();
      const auto* hit = covered.const_data_ptr<bool>();
      for (size_t j = 0; j < gone.size(); ++j) gone[j] = gone[j] || hit[j];
    }
    const Tensor index = at::tensor(kept, at::kLong);
    const Tensor score = scores.index({index}), keep = score.gt(threshold);
    out.push_back(Feature::Dict{{"scores", score.index({keep})},
                                {"labels", labels.index({index}).index({keep})},
                                {"boxes", boxes.index({index}).index({keep})}});
  }
  return out;
}

Tensor upsampled(const Tensor& maps, Size size) {
  return at::upsample_bilinear2d(maps, std::array<int64_t, 2>{size.height, size.width}, false);
}

// [batch, classes, height, width] -> the best class of each pixel
Feature class_maps(const Tensor& logits, const std::vector<Size>& sizes) {
  std::vector<Tensor> maps;
  for (int64_t i = 0; i < logits.size(0); ++i) {
    const Tensor one = sizes.empty() ? logits[i] : upsampled(logits[i].unsqueeze(0), sizes[static_cast<size_t>(i)])[0];
    maps.push_back(one.argmax(0));
  }
  return Feature(maps);
}

Feature semantic(const ImageProcessor&, const ModelOutput& outputs, const Arguments& a) {
  const Tensor& logits = outputs["logits"];
  return class_maps(logits, a.sizes("target_sizes", logits.size(0)));
}

struct Queries {
  Tensor classes, masks;
};

Feature query_semantic(const Queries& q, const Arguments& a) {
  const Tensor maps = at::einsum("bqc,bqhw->bchw", {q.classes.softmax(-1).slice(-1, 0, -1), q.masks.sigmoid()});
  return class_maps(maps, a.sizes("target_sizes", q.classes.size(0)));
}

double round6(double value) { return std::nearbyint(value * 1e6) / 1e6; }

Feature run_lengths(const Tensor& segmentation) {
  Feature::List out;
  const Tensor ids = std::get<0>(at::_unique(segmentation));
  for (int64_t i = 0; i < ids.numel(); ++i) {
    const Tensor mask = segmentation.eq(ids[i]).flatten().contiguous();
    const auto* pixel = mask.const_data_ptr<bool>();
    Feature::List runs;
    bool last = false;
    int64_t start = 0;
    for (int64_t p = 0; p <= mask.numel(); ++p) {
      const bool now = p < mask.numel() && pixel[p];
      if (now == last) continue;
      if (now)
        runs.emplace_back(start = p + 1);
      else
        runs.emplace_back(p + 1 - start);
      last = now;
    }
    out.emplace_back(runs);
  }
  return out;
}

// Each pixel to the query that claims it most; queries that lose most of their pixels are left out.
Feature::Dict segments(Tensor probs, const Tensor& scores, const Tensor& labels, double mask_threshold, double overlap,
                       const std::vector<int64_t>& fused, const Size* size) {
  if (size != nullptr) probs = upsampled(probs.unsqueeze(0), *size)[0];
  probs = probs * scores.view({-1, 1, 1});
  Tensor segmentation = at::zeros({probs.size(1), probs.size(2)}, at::kInt);
  const Tensor winner = probs.argmax(0);
  Feature::List list;
  std::vector<std::pair<int64_t, int64_t>> stuff;  // class, segment
  int64_t current = 0;
  for (int64_t k = 0; k < labels.size(0); ++k) {
    const int64_t label = labels[k].item<int64_t>();
    const bool fuses = std::find(fused.begin(), fused.end(), label) != fused.end();
    const Tensor mask = winner.eq(k);
    const auto area = mask.sum().item<int64_t>(), claimed = probs[k].ge(mask_threshold).sum().item<int64_t>();
    // The reference divides whole numbers into float32.
    if (area == 0 || claimed == 0 || !(static_cast<float>(area) / static_cast<float>(claimed) > overlap)) continue;
    const auto known = std::find_if(stuff.begin(), stuff.end(), [&](const auto& one) { return one.first == label; });
    current = known != stuff.end() ? known->second : current + 1;
    segmentation.masked_fill_(mask, current);
    list.push_back(Feature::Dict{
        {"id", current}, {"label_id", label}, {"was_fused", fuses}, {"score", round6(scores[k].item<double>())}});
    if (fuses && known == stuff.end()) stuff.emplace_back(label, current);
  }
  return {{"segmentation", segmentation}, {"segments_info", list}};
}

Feature::Dict no_segments(const Tensor& masks, const Size* size) {
  const auto height = size ? size->height : masks.size(1), width = size ? size->width : masks.size(2);
  return {{"segmentation", at::full({height, width}, -1, at::kFloat)}, {"segments_info", Feature::List()}};
}

Feature query_panoptic(const Queries& q, const Arguments& a, bool panoptic) {
  const auto sizes = a.sizes("target_sizes", q.classes.size(0));
  const int64_t nothing = q.classes.size(-1) - 1;
  const Tensor probs = q.masks.sigmoid();
  const auto [scores, labels] = q.classes.softmax(-1).max(-1);
  std::vector<int64_t> fused;
  const Value* ids = a.find("label_ids_to_fuse");
  if (panoptic && ids != nullptr) fused = ids->as_int_list();
  Feature::List out;
  for (int64_t i = 0; i < q.classes.size(0); ++i) {
    const Size* size = sizes.empty() ? nullptr : &sizes[static_cast<size_t>(i)];
    const Tensor keep = labels[i].ne(nothing).logical_and(scores[i].gt(a.number("threshold", 0.5)));
    const Tensor masks = probs[i].index({keep});
    if (masks.size(0) == 0) {
      out.push_back(no_segments(masks, size));
      continue;
    }
    auto one = segments(masks, scores[i].index({keep}), labels[i].index({keep}), a.number("mask_threshold", 0.5),
                        a.number("overlap_mask_area_threshold", 0.8), fused, size);
    if (!panoptic && a.flag("return_coco_annotation", false)) one[0].second = run_lengths(one[0].second.tensor());
    out.push_back(one);
  }
  return out;
}

Queries detr_queries(const ModelOutput& outputs) { return {outputs["logits"], outputs["pred_masks"]}; }
Queries former_queries(const ModelOutput& outputs) {
  return {outputs["class_queries_logits"], outputs["masks_queries_logits"]};
}
// Mask2Former brings its masks to one size first.
Queries former2_queries(const ModelOutput& outputs) {
  return {outputs["class_queries_logits"], upsampled(outputs["masks_queries_logits"], {384, 384})};
}

Feature detr_semantic(const ImageProcessor&, const ModelOutput& o, const Arguments& a) {
  return query_semantic(detr_queries(o), a);
}
Feature detr_instance(const ImageProcessor&, const ModelOutput& o, const Arguments& a) {
  return query_panoptic(detr_queries(o), a, false);
}
Feature detr_panoptic(const ImageProcessor&, const ModelOutput& o, const Arguments& a) {
  return query_panoptic(detr_queries(o), a, true);
}
Feature former_semantic(const ImageProcessor&, const ModelOutput& o, const Arguments& a) {
  return query_semantic(former_queries(o), a);
}
Feature former_panoptic(const ImageProcessor&, const ModelOutput& o, const Arguments& a) {
  return query_panoptic(former_queries(o), a, true);
}
Feature former2_semantic(const ImageProcessor&, const ModelOutput& o, const Arguments& a) {
  return query_semantic(former2_queries(o), a);
}
Feature former2_panoptic(const ImageProcessor&, const ModelOutput& o, const Arguments& a) {
  return query_panoptic(former2_queries(o), a, true);
}

// The best class-and-query pairs, each with its whole mask.
Feature former_instances(const Queries& q, const Arguments& a) {
  const auto sizes = a.sizes("target_sizes", q.classes.size(0));
  const int64_t classes = q.classes.size(-1) - 1, queries = q.classes.size(1);
  const double threshold = a.number("threshold", 0.5);
  Feature::List out;
  for (int64_t i = 0; i < q.classes.size(0); ++i) {
    const Tensor flat = q.classes[i].softmax(-1).slice(-1, 0, -1).flatten();
    const auto [best, index] = flat.topk(queries, -1, true, /*sorted=*/false);
    const Tensor labels = index.remainder(classes), masks = q.masks[i].index({at::div(index, classes, "floor")});
    Tensor binary = masks.gt(0).to(at::kFloat);
    const Tensor inside = binary.flatten(1);
    const Tensor scores = best * ((masks.sigmoid().flatten(1) * inside).sum(1) / (inside.sum(1) + 1e-6));
    Size size{masks.size(1), masks.size(2)};
    if (!sizes.empty()) {
      size = sizes[static_cast<size_t>(i)];
      binary = at::upsample_nearest2d(binary.unsqueeze(0), std::array<int64_t, 2>{size.height, size.width})[0];
    }
    Tensor segmentation = at::full({size.height, size.width}, -1, at::kFloat);
    Feature::List list;
    std::vector<Tensor> maps;
    for (int64_t j = 0; j < queries; ++j) {
      const double score = scores[j].item<float>();
      if (score < threshold || binary[j].eq(0).all().item<bool>()) continue;
      const auto id = static_cast<int64_t>(list.size());
      segmentation.masked_fill_(binary[j].eq(1), id);
      list.push_back(Feature::Dict{
          {"id", id}, {"label_id", labels[j].item<int64_t>()}, {"was_fused", false}, {"score", round6(score)}});
      maps.push_back(binary[j]);
    }
    Feature shown(segmentation);
    if (a.flag("return_coco_annotation", false))
      shown = run_lengths(segmentation);
    else if (a.flag("return_binary_maps", false) && !maps.empty())
      shown = Feature(at::stack(maps));
    out.push_back(Feature::Dict{{"segmentation", shown}, {"segments_info", list}});
  }
  return out;
}
Feature former_instance(const ImageProcessor&, const ModelOutput& o, const Arguments& a) {
  return former_instances(former_queries(o), a);
}
Feature former2_instance(const ImageProcessor&, const ModelOutput& o, const Arguments& a) {
  return former_instances(former2_queries(o), a);
}

// OneFormer: logits as they are, of queries above the threshold.
Feature one_former_instance(const ImageProcessor&, const ModelOutput& o, const Arguments& a) {
  const Queries q = former_queries(o);
  const auto sizes = a.sizes("target_sizes", q.classes.size(0));
  const int64_t classes = q.classes.size(-1) - 1, queries = q.classes.size(1);
  Feature::List out;
  for (int64_t i = 0; i < q.classes.size(0); ++i) {
    const Size* size = sizes.empty() ? nullptr : &sizes[static_cast<size_t>(i)];
    const auto [best, index] =
        q.classes[i].softmax(-1).slice(-1, 0, -1).flatten().topk(queries, -1, true, /*sorted=*/false);
    const Tensor keep = best.gt(a.flag("is_demo", true) ? a.number("threshold", 0.5) : -1.0);
    const Tensor masks = q.masks[i].index({at::div(index, classes, "floor").index({keep})});
    if (masks.size(0) == 0)
      out.push_back(no_segments(masks, size));
    else
      out.push_back(segments(masks, best.index({keep}), index.remainder(classes).index({keep}),
                             a.number("mask_threshold", 0.5), a.number("overlap_mask_area_threshold", 0.8), {}, size));
  }
  return out;
}

Tensor bicubic(const Tensor& depth, Size size) {
  return at::upsample_bicubic2d(depth.unsqueeze(0).unsqueeze(1), std::array<int64_t, 2>{size.height, size.width}, false)
      .squeeze();
}

Feature depth(const ImageProcessor&, const ModelOutput& outputs, const Arguments& a) {
  const Tensor& depths = outputs["predicted_depth"];
  const auto sizes = a.sizes("target_sizes", depths.size(0));
  Feature::List out;
  for (int64_t i = 0; i < depths.size(0); ++i)
    out.push_back(Feature::Dict{
        {"predicted_depth", sizes.empty() ? depths[i] : bicubic(depths[i], sizes[static_cast<size_t>(i)])}});
  return out;
}

// Depth Pro: inverse depth, in metres by the field of view in degrees.
Feature depth_pro(const ImageProcessor& processor, const ModelOutput& outputs, const Arguments& a) {
  const Tensor& depths = outputs["predicted_depth"];
  const Tensor views = outputs.tensor("field_of_view");
  const auto sizes = a.sizes("target_sizes", depths.size(0));
  const Value* filter = processor.setting("resample");
  Feature::List out;
  for (int64_t i = 0; i < depths.size(0); ++i) {
    Tensor one = depths[i];
    Feature focal, view;
    if (views.defined()) view = views[i];
    if (!sizes.empty()) {
      const Size size = sizes[static_cast<size_t>(i)];
      if (views.defined()) {
        const Tensor length =
            at::full({}, 0.5 * static_cast<double>(size.width), views.scalar_type()) / (views[i].deg2rad() * 0.5).tan();
        one = one * size.width / length;
        focal = length;
      }
      const std::array<int64_t, 2> edges{size.height, size.width};
      const Tensor x = one.unsqueeze(0).unsqueeze(1);
      const bool cubic = filter != nullptr && *filter == Value(3), nearest = filter != nullptr && *filter == Value(0);
      one = (nearest ? at::_upsample_nearest_exact2d(x, edges)
             : cubic ? at::upsample_bicubic2d(x, edges, false)
                     : at::upsample_bilinear2d(x, edges, false))
                .squeeze();
    }
    one = one.clamp(1e-4, 1e4).reciprocal();
    out.push_back(Feature::Dict{{"predicted_depth", one}, {"field_of_view", view}, {"focal_length", focal}});
  }
  return out;
}

// ZoeDepth pads by a part of the edges; that part is cut off again.
Feature zoe_depth(const ImageProcessor& processor, const ModelOutput& outputs, const Arguments& a) {
  const Tensor& depths = outputs["predicted_depth"];
  const auto sources = a.sizes("source_sizes", depths.size(0)), targets = a.sizes("target_sizes", depths.size(0));
  const Value* pads = processor.setting("do_pad");
  const bool cuts = a.flag("do_remove_padding", pads != nullptr && !pads->is_null() && pads->as_bool());
  if (cuts && sources.empty()) throw_invalid("source_sizes is not set, and the padding is to be removed");
  Feature::List out;
  for (int64_t i = 0; i < depths.size(0); ++i) {
    Tensor one = depths[i];
    if (!sources.empty()) {
      const Size size = sources[static_cast<size_t>(i)];
      const auto margin = [&](int64_t edge) {
        return cuts ? static_cast<int64_t>(std::sqrt(static_cast<double>(edge) / 2) * 3) : 0;
      };
      const int64_t rows = margin(size.height), columns = margin(size.width);
      one = bicubic(one, {size.height + 2 * rows, size.width + 2 * columns})
                .view({size.height + 2 * rows, size.width + 2 * columns});
      one = one.narrow(0, rows, size.height).narrow(1, columns, size.width);
    }
    if (!targets.empty()) one = bicubic(one, targets[static_cast<size_t>(i)]);
    out.push_back(Feature::Dict{{"predicted_depth", one.squeeze()}});
  }
  return out;
}

// SAM: out of the padded square, then to the picture's size.
Feature sam_masks(const ImageProcessor& processor, const ModelOutput& outputs, const Arguments& a) {
  std::vector<Tensor> masks;
  if (outputs.tensor("masks").defined())
    masks = {outputs["masks"]};
  else
    masks = outputs.tuple("masks");
  const auto count = static_cast<int64_t>(masks.size());
  const auto originals = a.sizes("original_sizes", count), reshaped = a.sizes("reshaped_input_sizes", count);
  if (originals.empty() || reshaped.empty()) throw_invalid("original_sizes or reshaped_input_sizes is not set");
  const Value* pad = a.find("pad_size");
  if (pad == nullptr) pad = processor.setting("pad_size");
  if (pad == nullptr) throw_invalid("pad_size is not set");
  const SizeDict square = to_size_dict(*pad, SizeRule::square, "pad_size");
  std::vector<Tensor> out;
  for (size_t i = 0; i < masks.size(); ++i) {
    Tensor mask = upsampled(masks[i], {square.height, square.width});
    mask = mask.slice(-2, 0, reshaped[i].height).slice(-1, 0, reshaped[i].width);
    mask = upsampled(mask, originals[i]);
    out.push_back(a.flag("binarize", true) ? mask.gt(a.number("mask_threshold", 0)) : mask);
  }
  return Feature(out);
}

// SegGPT: the lower half is the answer, in colours of the classes.
Feature seg_gpt_semantic(const ImageProcessor& processor, const ModelOutput& outputs, const Arguments& a) {
  const Tensor& given = outputs["pred_masks"];
  const auto row = [&](const char* name) {
    std::vector<double> numbers;
    if (const Value* value = processor.setting(name)) {
      for (const auto& number : value->as_list()) numbers.push_back(number.as_double());
    }
    return at::tensor(numbers, at::kFloat);
  };
  Tensor masks = given.slice(2, given.size(2) / 2).permute({0, 2, 3, 1}) * row("image_std") + row("image_mean");
  masks = (masks.permute({0, 3, 1, 2}) * 255).clamp(0, 255);
  const auto sizes = a.sizes("target_sizes", masks.size(0));
  const Value* labels = a.find("num_labels");
  std::vector<Tensor> out;
  for (int64_t i = 0; i < masks.size(0); ++i) {
    Tensor mask = masks[i];
    if (!sizes.empty())
      mask = at::upsample_nearest2d(mask.unsqueeze(0), std::array<int64_t, 2>{sizes[static_cast<size_t>(i)].height,
                                                                              sizes[static_cast<size_t>(i)].width})[0];
    if (labels == nullptr) {
      out.push_back(mask.mean(0).to(at::kInt));
      continue;
    }
    const auto palette = pipelines::seg_gpt_palette(labels->as_int());
    const Tensor colors = at::from_blob(const_cast<int64_t*>(palette.front().data()),
                                        {static_cast<int64_t>(palette.size()), 3}, at::kLong)
                              .to(at::kFloat);
    out.push_back((mask.permute({1, 2, 0}).unsqueeze(2) - colors).pow(2).sum(-1).argmin(-1));
  }
  return Feature(out);
}

// SuperPoint: places in pixels.
Feature keypoints(const ImageProcessor&, const ModelOutput& outputs, const Arguments& a) {
  const Tensor& mask = outputs["mask"];
  const auto sizes = a.sizes("target_sizes", mask.size(0));
  if (sizes.empty()) throw_invalid("target_sizes is not set");
  Feature::List out;
  for (int64_t i = 0; i < mask.size(0); ++i) {
    const Size size = sizes[static_cast<size_t>(i)];
    const Tensor index = mask[i].nonzero().squeeze(1);
    const Tensor places = (outputs["keypoints"][i] * at::tensor({size.width, size.height}, at::kLong)).to(at::kInt);
    out.push_back(Feature::Dict{{"keypoints", places.index({index})},
                                {"scores", outputs["scores"][i].index({index})},
                                {"descriptors", outputs["descriptors"][i].index({index})}});
  }
  return out;
}

// SuperGlue, LightGlue: the points of both pictures that belong together.
Feature matches(const ImageProcessor&, const ModelOutput& outputs, const Arguments& a) {
  const Tensor& mask = outputs["mask"];
  const Value* sizes = a.find("target_sizes");
  if (sizes == nullptr || static_cast<int64_t>(sizes->as_list().size()) != mask.size(0))
    throw_invalid("target_sizes is not one pair of sizes for each pair of pictures");
  const double threshold = a.number("threshold", 0);
  Feature::List out;
  for (int64_t i = 0; i < mask.size(0); ++i) {
    const auto& pair = sizes->as_list()[static_cast<size_t>(i)].as_list();
    if (pair.size() != 2) throw_invalid("target_sizes has an entry that is no pair");
    const auto places = [&](int64_t side) {
      const auto edges = pair[static_cast<size_t>(side)].as_int_list();
      if (edges.size() != 2) throw_invalid("target_sizes has a size without height and width");
      return (outputs["keypoints"][i][side] * at::tensor({edges[1], edges[0]}, at::kLong))
          .to(at::kInt)
          .index({mask[i][side].gt(0)});
    };
    const Tensor first = mask[i][0].gt(0), found = outputs["matches"][i][0].index({first}),
                 scores = outputs["matching_scores"][i][0].index({first});
    const Tensor keep = scores.gt(threshold).logical_and(found.gt(-1));
    out.push_back(Feature::Dict{{"keypoints0", places(0).index({keep})},
                                {"keypoints1", places(1).index({found.index({keep}).to(at::kLong)})},
                                {"matching_scores", scores.index({keep})}});
  }
  return out;
}

constexpr std::string_view kMasks = "post_process_masks", kKeypoints = "post_process_keypoint_detection",
                           kMatches = "post_process_keypoint_matching";
constexpr std::string_view kDetection = "post_process_object_detection", kOld = "post_process",
                           kSemantic = "post_process_semantic_segmentation",
                           kInstance = "post_process_instance_segmentation",
                           kPanoptic = "post_process_panoptic_segmentation", kDepth = "post_process_depth_estimation",
                           kGuided = "post_process_image_guided_detection";

// Class names without their ending ImageProcessor or ImageProcessorFast; "…Fast" for the fast class alone.
struct Entry {
  std::string_view stem, method;
  Method function;
};

constexpr Entry kEntries[] = {
    {"YolosFast", kDetection, deformable_detection},
    {"YolosFast", kOld, deformable_detection_old},
    {"LightGlue", kMatches, matches},
    {"Sam", kMasks, sam_masks},
    {"SegGpt", kSemantic, seg_gpt_semantic},
    {"SuperGlue", kMatches, matches},
    {"SuperPoint", kKeypoints, keypoints},
    {"ZoeDepth", kDepth, zoe_depth},
    {"Beit", kSemantic, semantic},
    {"ConditionalDetr", kDetection, deformable_detection},
    {"ConditionalDetr", kOld, conditional_detection_old},
    {"ConditionalDetr", kSemantic, detr_semantic},
    {"ConditionalDetr", kInstance, detr_instance},
    {"ConditionalDetr", kPanoptic, detr_panoptic},
    {"DPT", kSemantic, semantic},
    {"DPT", kDepth, depth},
    {"DeformableDetr", kDetection, deformable_detection},
    {"DeformableDetr", kOld, deformable_detection_old},
    {"DepthPro", kDepth, depth_pro},
    {"Deta", kDetection, deta_detection},
    {"Detr", kDetection, detr_detection},
    {"Detr", kOld, detr_detection_old},
    {"Detr", kSemantic, detr_semantic},
    {"Detr", kInstance, detr_instance},
    {"Detr", kPanoptic, detr_panoptic},
    {"GLPN", kDepth, depth},
    {"GroundingDino", kDetection, owl_detection},
    {"Mask2Former", kSemantic, former2_semantic},
    {"Mask2Former", kInstance, former2_instance},
    {"Mask2Former", kPanoptic, former2_panoptic},
    {"MaskFormer", kSemantic, former_semantic},
    {"MaskFormer", kInstance, former_instance},
    {"MaskFormer", kPanoptic, former_panoptic},
    {"MobileNetV2", kSemantic, semantic},
    {"MobileViT", kSemantic, semantic},
    {"OneFormer", kSemantic, former_semantic},
    {"OneFormer", kInstance, one_former_instance},
    {"OneFormer", kPanoptic, former_panoptic},
    {"OwlViT", kDetection, owl_detection},
    {"OwlViT", kOld, owl_detection_old},
    {"OwlViT", kGuided, owl_image_guided},
    {"Owlv2", kDetection, owlv2_detection},
    {"Owlv2", kGuided, owlv2_image_guided},
    {"PromptDepthAnything", kDepth, depth},
    {"RTDetr", kDetection, rt_detr_detection},
    {"Segformer", kSemantic, semantic},
    {"Yolos", kDetection, detr_detection},
    {"Yolos", kOld, detr_detection_old},
};

}  // namespace

Feature run_post_processing(const ImageProcessor& processor, std::string_view method, const ModelOutput& outputs,
                            const Value::Object& arguments) {
  const std::string& name = processor.class_name();
  const std::string stem = name.substr(0, name.rfind("ImageProcessor"));
  // Where the two differ, the fast class has an entry of its own, which stands first.
  const std::string fast = name.ends_with("Fast") ? stem + "Fast" : stem;
  for (const auto& entry : kEntries) {
    if ((entry.stem != stem && entry.stem != fast) || entry.method != method) continue;
    try {
      return entry.function(processor, outputs, Arguments(arguments));
    } catch (const c10::Error& error) {
      throw Error(ErrorCode::invalid_value,
                  concat(processor.class_name(), ".", method, ": ", error.what_without_backtrace()));
    }
  }
  throw Error(ErrorCode::unknown_argument, concat(processor.class_name(), " has no method ", method));
}

}  // namespace backplane
