// DETR (Carion et al. 2020) and those after it: the picture keeps its shape, batches are padded and masked, and COCO
// annotations follow it.

#include <algorithm>
#include <cmath>

#include "backplane/base/files.h"
#include "vision/pipelines.h"

namespace backplane::pipelines {
namespace {

constexpr int64_t kAnnotations = 1 << 20;

struct Variant {
  int64_t multiple = 1;  // both edges are cut to multiples of it (YOLOS)
  bool returns_mask = true;
  bool square_from_number = false;
  bool panoptic = true;
};

// What belongs to one picture, in the reference's order; tensors are those of the name.
struct Annotation {
  std::vector<std::pair<std::string, Tensor>> entries;

  Tensor* find(std::string_view name) {
    for (auto& [key, value] : entries) {
      if (key == name) return &value;
    }
    return nullptr;
  }
  void set(std::string_view name, Tensor value) {
    if (Tensor* known = find(name))
      *known = std::move(value);
    else
      entries.emplace_back(name, std::move(value));
  }
};

Tensor size_tensor(Size size) { return at::tensor({size.height, size.width}, at::kLong); }

Tensor row4(double a, double b, double c, double d, at::ScalarType dtype) {
  return at::tensor({a, b, c, d}, at::kDouble).to(dtype);
}

const Value& member(const Value& object, std::string_view key, std::string_view where) {
  const Value* found = object.find(key);
  if (found == nullptr) throw_invalid(concat(where, " has no '", key, "'"));
  return *found;
}

const Value::List& list_of(const Value& value, std::string_view where) {
  if (!value.is_list() || static_cast<int64_t>(value.as_list().size()) > kAnnotations)
    throw_invalid(concat(where, " is no list"));
  return value.as_list();
}

// Boxes as corners within the picture; those without area, and crowds, are left out.
Annotation detection_annotation(const Call& call, Size image, const Value& target) {
  if (call.flag("return_segmentation_masks") && target.find("annotations") != nullptr)
    throw Error(ErrorCode::missing_dependency,
                "return_segmentation_masks with coco_detection needs polygons drawn as pycocotools does, which is not "
                "here; give format coco_panoptic");
  std::vector<int64_t> classes, crowds;
  std::vector<float> areas, boxes, keypoints;
  int64_t points = 0;
  for (const Value& one : list_of(member(target, "annotations", "the annotation"), "annotations")) {
    const Value* crowd = one.find("iscrowd");
    if (crowd != nullptr && crowd->as_double() != 0) continue;
    classes.push_back(member(one, "category_id", "an entry of annotations").as_int());
    areas.push_back(static_cast<float>(member(one, "area", "an entry of annotations").as_double()));
    crowds.push_back(0);
    const auto& box = list_of(member(one, "bbox", "an entry of annotations"), "bbox");
    if (box.size() != 4) throw_invalid(concat("bbox has ", box.size(), " numbers; expected 4: x, y, width, height"));
    for (const auto& number : box) boxes.push_back(static_cast<float>(number.as_double()));
    if (const Value* given = one.find("keypoints")) {
      const auto& numbers = list_of(*given, "keypoints");
      if (points != 0 && static_cast<int64_t>(numbers.size()) != points)
        throw_invalid("keypoints of different lengths");
      points = static_cast<int64_t>(numbers.size());
      for (const auto& number : numbers) keypoints.push_back(static_cast<float>(number.as_double()));
    }
  }
  Tensor corners = at::tensor(boxes, at::kFloat).view({-1, 4});
  corners.narrow(1, 2, 2).add_(corners.narrow(1, 0, 2));
  corners.slice(1, 0, 4, 2).clamp_(0, static_cast<double>(image.width));
  corners.slice(1, 1, 4, 2).clamp_(0, static_cast<double>(image.height));
  const Tensor keep =
      corners.select(1, 3).gt(corners.select(1, 1)).logical_and(corners.select(1, 2).gt(corners.select(1, 0)));
  const auto kept = [&](const Tensor& values) { return values.index({keep}); };
  Annotation out;
  out.entries = {{"image_id", at::tensor({member(target, "image_id", "the annotation").as_int()}, at::kLong)},
                 {"class_labels", kept(at::tensor(classes, at::kLong))},
                 {"boxes", kept(corners)},
                 {"area", kept(at::tensor(areas, at::kFloat))},
                 {"iscrowd", kept(at::tensor(crowds, at::kLong))},
                 {"orig_size", size_tensor(image)}};
  if (points > 0) {
    if (points % 3 != 0 || static_cast<size_t>(points) * classes.size() != keypoints.size())
      throw_invalid("keypoints are not three numbers a point, of every entry");
    Tensor all = kept(at::tensor(keypoints, at::kFloat).view({-1, points}));
    out.set("keypoints", all.size(0) > 0 ? all.reshape({-1, 3}) : all);
  }
  return out;
}

// The file has the segment of each pixel as red + 256 green + 65536 blue.
Annotation panoptic_annotation(const Call& call, Size image, const Value& target) {
  const Value* folder = call.find("masks_path");
  if (folder == nullptr || !folder->is_string())
    throw_invalid("masks_path is not set; coco_panoptic annotations need the folder of their pictures");
  const std::string file = member(target, "file_name", "the annotation").as_string();
  if (file.find('/') != std::string::npos || file.find('\\') != std::string::npos || file.starts_with("."))
    throw_invalid(concat("file_name is '", file, "'; expected a name without folders"));
  const std::string path = folder->as_string() + "/" + file;
  const Image picture = convert_to_rgb(decode_image(read_file(path, limits::kImageFileBytes), path));
  const Tensor rgb =
      at::from_blob(const_cast<uint8_t*>(picture.pixels.data()), {picture.height, picture.width, 3}, at::kByte)
          .to(at::kLong);
  const Tensor ids = rgb.select(2, 0) + rgb.select(2, 1) * 256 + rgb.select(2, 2) * 65536;
  std::vector<int64_t> segment_ids, classes, crowds;
  std::vector<float> areas;
  for (const Value& one : list_of(member(target, "segments_info", "the annotation"), "segments_info")) {
    segment_ids.push_back(member(one, "id", "an entry of segments_info").as_int());
    classes.push_back(member(one, "category_id", "an entry of segments_info").as_int());
    crowds.push_back(member(one, "iscrowd", "an entry of segments_info").as_int());
    areas.push_back(static_cast<float>(member(one, "area", "an entry of segments_info").as_double()));
  }
  const Tensor masks = ids.unsqueeze(0).eq(at::tensor(segment_ids, at::kLong).view({-1, 1, 1}));
  const Value* id = target.find("image_id");
  Annotation out;
  out.set("image_id", at::tensor({(id ? *id : member(target, "id", "the annotation")).as_int()}, at::kLong));
  out.set("size", size_tensor(image));
  out.set("orig_size", size_tensor(image));
  const Value* wanted = call.find("return_segmentation_masks");
  if (wanted == nullptr || wanted->as_bool()) out.set("masks", call.fast ? masks : masks.to(at::kByte));
  Tensor boxes = at::zeros({masks.size(0), 4}, at::kFloat);
  for (int64_t i = 0; i < masks.size(0); ++i) {
    const Tensor where = masks[i].nonzero();
    // The reference leaves far minima and zero maxima where a segment has no pixel.
    if (where.size(0) == 0)
      boxes[i] = row4(1e8, 1e8, 0, 0, at::kFloat);
    else
      boxes[i] = at::stack({where.select(1, 1).min(), where.select(1, 0).min(), where.select(1, 1).max(),
                            where.select(1, 0).max()})
                     .to(at::kFloat);
  }
  out.set("boxes", boxes);
  out.set("class_labels", at::tensor(classes, at::kLong));
  out.set("iscrowd", at::tensor(crowds, at::kLong));
  out.set("area", at::tensor(areas, at::kFloat));
  return out;
}

Annotation read_annotation(const Call& call, const Variant& variant, Size image, const Value& target) {
  const Value* format = call.find("format");
  const bool panoptic = format != nullptr && *format == Value("coco_panoptic");
  if (format == nullptr || (!panoptic && *format != Value("coco_detection")) || (panoptic && !variant.panoptic))
    throw_invalid(concat("format is ", format ? format->to_string() : "not set", "; expected \"coco_detection\"",
                         variant.panoptic ? " or \"coco_panoptic\"" : ""));
  if (!target.is_object()) throw_invalid("an annotation is no object");
  return panoptic ? panoptic_annotation(call, image, target) : detection_annotation(call, image, target);
}

void resize_annotation(Annotation& annotation, Size from, Size to) {
  const double height = static_cast<double>(to.height) / static_cast<double>(from.height);
  const double width = static_cast<double>(to.width) / static_cast<double>(from.width);
  if (Tensor* boxes = annotation.find("boxes")) *boxes = *boxes * row4(width, height, width, height, at::kFloat);
  if (Tensor* area = annotation.find("area")) *area = *area * (width * height);
  if (Tensor* masks = annotation.find("masks")) {
    std::vector<Tensor> resized;
    for (const auto& mask : masks->unbind(0))
      resized.push_back(
          resize_pillow(mask.to(at::kByte).unsqueeze(2), to.height, to.width, Resample::nearest).squeeze(2).gt(0));
    if (!resized.empty()) *masks = at::stack(resized);
  }
  annotation.set("size", size_tensor(to));
}

void normalize_boxes(Annotation& annotation, Size image) {
  Tensor* boxes = annotation.find("boxes");
  if (boxes == nullptr) return;
  const auto corner = boxes->unbind(1);
  const auto height = static_cast<double>(image.height), width = static_cast<double>(image.width);
  *boxes =
      at::stack(
          {(corner[0] + corner[2]) / 2, (corner[1] + corner[3]) / 2, corner[2] - corner[0], corner[3] - corner[1]}, 1)
          .div_(row4(width, height, width, height, at::kFloat));
}

void pad_annotation(Annotation& annotation, Size from, Size to, bool boxes_too, bool fast) {
  const double height = static_cast<double>(from.height) / static_cast<double>(to.height);
  const double width = static_cast<double>(from.width) / static_cast<double>(to.width);
  Tensor* boxes = annotation.find("boxes");
  if (boxes != nullptr && boxes_too) {
    const Tensor factors = row4(width, height, width, height, fast ? at::kFloat : at::kDouble);
    *boxes = (*boxes * factors).to(at::kFloat);
  }
  if (Tensor* masks = annotation.find("masks"))
    *masks = at::constant_pad_nd(*masks, {0, to.width - from.width, 0, to.height - from.height}, 0);
  annotation.set("size", size_tensor(to));
}

Size target_size(const Call& call, const Variant& variant, Size image) {
  const SizeDict size = call.size("size", variant.square_from_number ? SizeRule::square : SizeRule::shortest);
  if (size.shortest_edge != 0 && size.longest_edge != 0) {
    Size out = aspect_ratio_size(image, size.shortest_edge, size.longest_edge);
    return {out.height - out.height % variant.multiple, out.width - out.width % variant.multiple};
  }
  if (size.max_height != 0) return max_size(image, size.max_height, size.max_width);
  if (size.exact()) return {size.height, size.width};
  throw_invalid("size has neither shortest_edge and longest_edge, height and width, nor max_height and max_width");
}

Feature label(const Call& call, const Annotation& annotation) {
  Feature::Dict out;
  for (const auto& [key, tensor] : annotation.entries) {
    if (key == "size" && !call.stacks())
      out.emplace_back(key, Feature::List{tensor[0].item<int64_t>(), tensor[1].item<int64_t>()});
    else
      out.emplace_back(key, tensor);
  }
  return out;
}

BatchFeature detection(const Call& call, const Variant& variant) {
  call.validate();
  std::vector<Tensor> images = call.flat(call.fast);
  const bool annotated = !call.inputs.annotations.empty();
  if (annotated && call.inputs.annotations.size() != images.size())
    throw_invalid(concat(call.inputs.annotations.size(), " annotations for ", images.size(), " pictures"));
  std::vector<Annotation> annotations(annotated ? images.size() : 0);
  const bool converts = call.flag("do_convert_annotations");
  for (size_t i = 0; i < images.size(); ++i) {
    Tensor& x = images[i];
    if (annotated) annotations[i] = read_annotation(call, variant, size_of(x), call.inputs.annotations[i]);
    if (call.flag("do_resize")) {
      const Size before = size_of(x);
      x = call.resize(x, target_size(call, variant, before));
      if (annotated) resize_annotation(annotations[i], before, size_of(x));
    }
    x = call.finish(x);
    if (annotated && converts) normalize_boxes(annotations[i], size_of(x));
  }
  BatchFeature out;
  const bool pads = call.flag("do_pad");
  std::vector<Tensor> masks;
  if (pads) {
    Size padded;
    if (call.find("pad_size") != nullptr) {
      padded = call.exact_size("pad_size");
    } else {
      for (const auto& x : images) padded = {std::max(padded.height, x.size(0)), std::max(padded.width, x.size(1))};
    }
    for (size_t i = 0; i < images.size(); ++i) {
      const Size size = size_of(images[i]);
      if (size.height > padded.height || size.width > padded.width)
        throw_invalid(concat("a picture of ", size.width, " x ", size.height, " pixels does not fit into pad_size ",
                             padded.width, " x ", padded.height));
      Tensor mask = at::zeros({padded.height, padded.width}, at::kLong);
      mask.narrow(0, 0, size.height).narrow(1, 0, size.width).fill_(1);
      masks.push_back(mask);
      images[i] = pad_constant(images[i], 0, padded.height - size.height, 0, padded.width - size.width);
      if (annotated) pad_annotation(annotations[i], size, padded, converts, call.fast);
    }
  }
  for (auto& x : images) x = call.order(x);
  const bool masked = pads && variant.returns_mask;
  if (call.fast) {
    // The fast classes stack whatever return_tensors says.
    if (masked) out.items.emplace_back("pixel_mask", at::stack(masks));
    for (const auto& x : images) {
      if (x.sizes() != images.front().sizes()) throw_invalid("the pictures have different sizes; set do_pad");
    }
    out.items.emplace_back("pixel_values", at::stack(images));
  } else {
    out.items.emplace_back("pixel_values", call.stack(images));
    if (masked) out.items.emplace_back("pixel_mask", call.stack(masks));
  }
  if (annotated) {
    Feature::List labels;
    for (const auto& annotation : annotations) labels.push_back(label(call, annotation));
    out.items.emplace_back("labels", labels);
  }
  return out;
}

}  // namespace

BatchFeature detr(const Call& call) { return detection(call, {}); }
BatchFeature yolos(const Call& call) { return detection(call, {.multiple = 16, .returns_mask = call.fast}); }
BatchFeature rt_detr(const Call& call) { return detection(call, {.square_from_number = true, .panoptic = false}); }

}  // namespace backplane::pipelines
