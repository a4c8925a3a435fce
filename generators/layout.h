// The order of an image's dimensions in memory, as a parameter of the stages that touch the caller's tensors.
#pragma once

#include <map>
#include <string>

namespace fourfold {

enum class Layout { nchw, nhwc };
inline const std::map<std::string, Layout> kLayouts = {{"nchw", Layout::nchw}, {"nhwc", Layout::nhwc}};

}  // namespace fourfold
