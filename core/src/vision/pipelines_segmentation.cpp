// Classes that take segmentation maps along: BEiT, SegFormer, DPT, MobileViT, and the mask classifiers.

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "backplane/base/json.h"
#include "backplane/config/config_json.h"
#include "vision/pipelines.h"

namespace backplane::pipelines {
namespace {

// Labels one lower, with the background as 255.
Tensor reduce_labels(const Tensor& map) {
  const Tensor wide = map.to(at::kLong);
  return at::where(wide.eq(0).logical_or(wide.eq(255)), at::full({}, 255, at::kLong), wide - 1).to(map.scalar_type());
}

// The maps [height, width] as pictures of one channel.
std::vector<Tensor> maps_of(const Call& call, size_t pictures) {
  std::vector<Tensor> out;
  for (const auto& map : call.inputs.segmentation_maps) {
    if (map.dim() == 3 && map.size(0) == 1)
      out.push_back(map.squeeze(0).unsqueeze(2).contiguous());
    else if (map.dim() == 2)
      out.push_back(map.unsqueeze(2).contiguous());
    else
      throw_invalid(concat("a segmentation map of ", map.dim(), " dimensions; expected height and width"));
  }
  if (!out.empty() && out.size() != pictures)
    throw_invalid(concat(out.size(), " segmentation maps for ", pictures, " pictures"));
  return out;
}

// `each` on the maps, then whole numbers [height, width].
void add_labels(BatchFeature& out, const Call& call, size_t pictures,
                const std::function<Tensor(const Tensor&)>& each) {
  std::vector<Tensor> labels;
  const bool reduces = call.flag("do_reduce_labels");
  for (const auto& map : maps_of(call, pictures))
    labels.push_back(each(reduces ? reduce_labels(map) : map).squeeze(2).to(at::kLong));
  if (!labels.empty()) out.items.emplace_back("labels", call.stack(labels));
}

size_t picture_count(const Call& call) {
  size_t count = 0;
  for (const auto& list : call.inputs.images) count += list.size();
  return count;
}

Size depth_size(const Call& call, Size image) {
  const Size size = call.exact_size();
  const int64_t multiple = call.integer("ensure_multiple_of");
  if (multiple < 1) throw_invalid(concat("ensure_multiple_of is ", multiple, "; expected 1 or more"));
  double height = static_cast<double>(size.height) / static_cast<double>(image.height);
  double width = static_cast<double>(size.width) / static_cast<double>(image.width);
  if (call.flag("keep_aspect_ratio")) {
    if (std::abs(1 - width) < std::abs(1 - height))
      height = width;
    else
      width = height;
  }
  const auto snapped = [&](double edge) { return round_half_even(edge / static_cast<double>(multiple)) * multiple; };
  return {snapped(height * static_cast<double>(image.height)), snapped(width * static_cast<double>(image.width))};
}

}  // namespace

Size dpt_size(const Call& call, Size image) { return depth_size(call, image); }

Tensor pad_to_divisor(const Call& call, const Tensor& x) {
  const int64_t step = call.integer("size_divisor");
  if (step < 1) throw_invalid(concat("size_divisor is ", step, "; expected 1 or more"));
  const auto more = [&](int64_t size) { return (size + step - 1) / step * step - size; };
  const int64_t rows = more(x.size(0)), columns = more(x.size(1));
  return pad_constant(x, rows / 2, rows - rows / 2, columns / 2, columns - columns / 2);
}

BatchFeature beit(const Call& call) {
  BatchFeature out = exact(call);
  add_labels(out, call, picture_count(call), [&](Tensor map) {
    if (call.flag("do_resize")) map = call.resize(map, call.exact_size());
    return call.flag("do_center_crop") ? call.center_crop(map, call.exact_size("crop_size")) : map;
  });
  return out;
}

BatchFeature segformer(const Call& call) {
  BatchFeature out = exact(call);
  add_labels(out, call, picture_count(call), [&](const Tensor& map) {
    return call.flag("do_resize") ? call.resize(map, call.exact_size(), Resample::nearest) : map;
  });
  return out;
}

BatchFeature dpt(const Call& call) {
  BatchFeature out = pixel_values(
      call,
      [&](const Tensor& image) {
        Tensor x = image;
        if (call.flag("do_resize")) x = call.resize(x, depth_size(call, size_of(x)));
        if (call.fast && call.flag("do_center_crop")) x = call.center_crop(x, call.exact_size("crop_size"));
        const bool pads = call.flag("do_pad");
        if (pads && call.fast) x = pad_to_divisor(call, x);
        x = call.finish(x);
        return pads && !call.fast ? pad_to_divisor(call, x) : x;
      },
      call.fast);
  add_labels(out, call, picture_count(call), [&](Tensor map) {
    if (call.flag("do_resize")) map = call.resize(map, depth_size(call, size_of(map)));
    return call.fast && call.flag("do_pad") ? pad_to_divisor(call, map) : map;
  });
  return out;
}

// Values of 0 to 1, blue first, and no mean.
BatchFeature mobile_vit(const Call& call) {
  const auto target = [&](Size image) -> Size {
    const SizeDict size = call.size("size", SizeRule::shortest);
    if (size.shortest_edge != 0) return shortest_edge_size(image, size.shortest_edge);
    if (!size.exact()) throw_invalid("size has neither shortest_edge nor height and width");
    return {size.height, size.width};
  };
  BatchFeature out = pixel_values(
      call,
      [&](const Tensor& image) {
        Tensor x = image;
        if (call.flag("do_resize")) x = call.resize(x, target(size_of(x)));
        if (call.flag("do_rescale")) x = call.rescale(x, call.number("rescale_factor"));
        if (call.flag("do_center_crop")) x = call.center_crop(x, call.exact_size("crop_size"));
        return call.flag("do_flip_channel_order") ? x.flip(-1) : x;
      },
      false);
  add_labels(out, call, picture_count(call), [&](Tensor map) {
    if (call.flag("do_resize")) map = call.resize(map, target(size_of(map)), Resample::nearest);
    return call.flag("do_center_crop") ? call.center_crop(map, call.exact_size("crop_size")) : map;
  });
  return out;
}

namespace {

// The map's classes, and a mask for each: [classes, height, width] float32, [classes].
struct Masks {
  Tensor masks, classes;
};

Masks binary_masks(const Call& call, const Tensor& given, size_t index) {
  const bool reduces = call.flag("do_reduce_labels");
  const Value* ignored = call.find("ignore_index");
  if (reduces && ignored == nullptr) throw_invalid("do_reduce_labels needs ignore_index");
  Tensor map = given.squeeze(2).to(at::kLong);
  if (reduces) map = at::where(map.eq(0), at::full({}, ignored->as_int(), at::kLong), map - 1);
  std::vector<int64_t> labels;
  const Tensor unique = std::get<0>(at::_unique(map));
  for (int64_t i = 0; i < unique.numel(); ++i) {
    const int64_t label = unique[i].item<int64_t>();
    if (ignored == nullptr || label != ignored->as_int()) labels.push_back(label);
  }
  Masks out;
  out.masks = map.unsqueeze(0).eq(at::tensor(labels, at::kLong).view({-1, 1, 1})).to(at::kFloat);
  const Value* semantic = call.find("instance_id_to_semantic_id");
  if (semantic != nullptr && semantic->is_list()) {
    if (index >= semantic->as_list().size())
      throw_invalid("instance_id_to_semantic_id has fewer entries than there are pictures");
    semantic = &semantic->as_list()[index];
  }
  if (semantic != nullptr) {
    for (auto& label : labels) {
      const Value* id = semantic->find(std::to_string(label + reduces));
      if (id == nullptr)
        throw_invalid(concat("instance_id_to_semantic_id has no entry for instance ", label + reduces));
      label = id->as_int() - reduces;
    }
  }
  out.classes = at::tensor(labels, at::kLong);
  return out;
}

Size mask_former_size(const Call& call, Size image, int64_t divisor) {
  const SizeDict size = call.size("size", SizeRule::shortest_1333);
  Size out;
  if (size.exact()) {
    out = {size.height, size.width};
  } else if (size.shortest_edge != 0 && size.longest_edge != 0) {
    if (size.longest_edge <= size.shortest_edge)
      throw_invalid(concat("longest_edge ", size.longest_edge, " is not above shortest_edge ", size.shortest_edge));
    out = shortest_edge_size(image, size.shortest_edge);
    const int64_t longest = std::max(out.height, out.width);
    if (longest > size.longest_edge) {
      const auto shortest = static_cast<int64_t>(static_cast<double>(size.longest_edge * size.shortest_edge) /
                                                 static_cast<double>(longest));
      out = image.width <= image.height ? Size{size.longest_edge, shortest} : Size{shortest, size.longest_edge};
    }
  } else {
    throw_invalid("size has neither shortest_edge and longest_edge nor height and width");
  }
  if (divisor > 0)
    out = {(out.height + divisor - 1) / divisor * divisor, (out.width + divisor - 1) / divisor * divisor};
  return out;
}

struct MaskBatch {
  BatchFeature out;
  Size padded;
  std::vector<Tensor> maps;
};

MaskBatch mask_pictures(const Call& call, int64_t divisor) {
  call.validate();
  MaskBatch batch;
  std::vector<Tensor> images = call.flat(false);
  batch.maps = maps_of(call, images.size());
  for (size_t i = 0; i < images.size(); ++i) {
    Tensor& x = images[i];
    if (call.flag("do_resize")) {
      x = call.resize(x, mask_former_size(call, size_of(x), divisor));
      if (!batch.maps.empty())
        batch.maps[i] =
            call.resize(batch.maps[i], mask_former_size(call, size_of(batch.maps[i]), divisor), Resample::nearest);
    }
    x = call.finish(x);
    batch.padded = {std::max(batch.padded.height, x.size(0)), std::max(batch.padded.width, x.size(1))};
  }
  std::vector<Tensor> masks;
  for (auto& x : images) {
    Tensor mask = at::zeros({batch.padded.height, batch.padded.width}, at::kLong);
    mask.narrow(0, 0, x.size(0)).narrow(1, 0, x.size(1)).fill_(1);
    masks.push_back(mask);
    x = call.order(pad_constant(x, 0, batch.padded.height - x.size(0), 0, batch.padded.width - x.size(1)));
  }
  batch.out.items = {{"pixel_values", call.stack(images)}, {"pixel_mask", call.stack(masks)}};
  return batch;
}

Tensor padded_masks(const Call& call, const Tensor& masks, Size size) {
  if (masks.size(0) == 0) return at::zeros({0, size.height, size.width}, at::kFloat);
  if (call.find("ignore_index") == nullptr)
    throw_invalid("segmentation maps are padded with ignore_index, which is not set");
  return at::constant_pad_nd(masks, {0, size.width - masks.size(2), 0, size.height - masks.size(1)},
                             call.number("ignore_index"));
}

}  // namespace

// MaskFormer and Mask2Former: sizes of whole size_divisors.
BatchFeature mask_former(const Call& call) {
  MaskBatch batch = mask_pictures(call, call.integer("size_divisor"));
  if (batch.maps.empty()) return batch.out;
  std::vector<Tensor> masks, classes;
  for (size_t i = 0; i < batch.maps.size(); ++i) {
    const Masks one = binary_masks(call, batch.maps[i], i);
    masks.push_back(padded_masks(call, one.masks, batch.padded));
    classes.push_back(one.classes);
  }
  batch.out.items.emplace_back("mask_labels", masks);
  batch.out.items.emplace_back("class_labels", classes);
  return batch.out;
}

// OneFormer: the same without a divisor, with the task and the classes as texts.
BatchFeature one_former(const Call& call) {
  std::vector<std::string> tasks = call.inputs.task_inputs;
  if (tasks.empty()) tasks = {"panoptic"};
  MaskBatch batch = mask_pictures(call, 0);
  Feature::List task_texts;
  for (const auto& task : tasks) task_texts.emplace_back(concat("the task is ", task));
  if (!batch.maps.empty()) {
    const Value* file = call.find("class_info_file");
    const Value* folder = call.find("repo_path");
    if (file == nullptr || !file->is_string()) throw_invalid("class_info_file is not set");
    const Json info = read_json_file(
        folder != nullptr && folder->is_string() ? folder->as_string() + "/" + file->as_string() : file->as_string());
    std::vector<std::string> names;
    std::map<int64_t, std::string> name_of;
    std::set<int64_t> things;
    for (auto it = info.begin(); it != info.end(); ++it) {
      if (!it.value().is_object() || !it.value().contains("name") || !it.value().at("name").is_string())
        throw_invalid(concat(file->as_string(), ": '", it.key(), "' has no name"));
      const int64_t id = std::strtoll(it.key().c_str(), nullptr, 10);
      names.push_back(it.value().at("name").get<std::string>());
      name_of[id] = names.back();
      const Json thing = it.value().value("isthing", Json(0));
      if (thing.is_boolean() ? thing.get<bool>() : thing.is_number() && thing.get<double>() != 0) things.insert(id);
    }
    const int64_t texts = call.integer("num_text");
    if (texts < 0 || texts > 1 << 16) throw_invalid(concat("num_text is ", texts));
    std::map<std::string, int64_t> count;  // over the whole batch, as the reference counts
    std::vector<Tensor> masks, classes;
    Feature::List all_texts;
    for (size_t i = 0; i < batch.maps.size(); ++i) {
      if (i >= tasks.size()) throw_invalid("fewer task_inputs than segmentation maps");
      const std::string& task = tasks[i];
      if (task != "semantic" && task != "instance" && task != "panoptic")
        throw_invalid(concat("the task '", task, "'; expected semantic, instance or panoptic"));
      const Masks one = binary_masks(call, batch.maps[i], i);
      std::vector<int64_t> kept;
      std::vector<Tensor> kept_masks;
      for (int64_t c = 0; c < one.classes.numel(); ++c) {
        const int64_t id = one.classes[c].item<int64_t>();
        if (task == "instance" && !things.contains(id)) continue;
        const auto known = std::find(kept.begin(), kept.end(), id);
        if (task == "semantic" && known != kept.end()) {
          Tensor& merged = kept_masks[static_cast<size_t>(known - kept.begin())];
          merged = (merged + one.masks[c]).clamp(0, 1);
          continue;
        }
        if (!name_of.contains(id)) throw_invalid(concat(file->as_string(), " has no class ", id));
        ++count[name_of[id]];
        kept.push_back(id);
        kept_masks.push_back(one.masks[c]);
      }
      std::vector<std::string> lines(static_cast<size_t>(texts), task == "semantic"   ? "a semantic photo"
                                                                 : task == "instance" ? "an instance photo"
                                                                                      : "an panoptic photo");
      size_t used = 0;
      for (const auto& name : names) {
        for (int64_t n = 0; n < count[name] && used < lines.size(); ++n)
          lines[used++] = concat("a photo with a ", name);
      }
      if (kept.empty())
        throw_invalid(concat("the segmentation map of picture ", i, " has no class for the task ", task));
      masks.push_back(padded_masks(call, at::stack(kept_masks), batch.padded));
      classes.push_back(at::tensor(kept, at::kLong));
      all_texts.emplace_back(Feature::List(lines.begin(), lines.end()));
    }
    batch.out.items.emplace_back("mask_labels", masks);
    batch.out.items.emplace_back("class_labels", classes);
    batch.out.items.emplace_back("text_inputs", all_texts);
  }
  batch.out.items.emplace_back("task_inputs", task_texts);
  return batch.out;
}

}  // namespace backplane::pipelines
