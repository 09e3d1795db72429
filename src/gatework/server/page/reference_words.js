// The reference in Chinese; in English it says what /openapi.json says.

export const GROUPS = {
  models: "简明 JSON：模型的回答。此外还有 WebSocket：/v1/models/NAME/stream。",
  service: "服务本身。",
  protocol: "开放推理协议（Open Inference Protocol，KServe v2），包括序列与模型仓库。",
};

export const WRONG = {
  400: "不是 JSON 对象，不是 UTF-8，或压缩的请求体无法解开。",
  401: "需要令牌，或令牌不对。",
  403: "请求来自其他来源的网页。",
  404: "没有这个模型。",
  408: "请求体来得太慢。",
  409: "没有这个序列，或选项的次序不对。",
  413: "请求体太大。",
  415: "请求体的压缩方式未知。",
  422: "模型无法回答：选项、文本或批量超出限度。",
  429: "等待的请求太多；Retry-After 说明何时再来。",
  500: "服务出错；日志中有记录，其他请求不受影响。",
  503: "太忙、太慢或正在停止；Retry-After 说明何时再来。",
};

// What stands at a name in a body or an answer.
export const FIELDS = {
  text: "文本；标注模型也可给词元列表，对话模型也可给各轮话语的列表。",
  texts: "文本；标注模型也可给词元列表，对话模型也可给各轮话语的列表。",
  options: "任务的选项，见 docs/serving.md；多个文本时相同。",
  answer: "与 `gatework predict --json` 的输出相同。", answers: "与 `gatework predict --json` 的输出相同。",
  top_k: "排出多少个答案；抽样时，从多少个最可能的词元中抽取。", threshold: "分类、标注：分数达到多少才算数。",
  allow: '标注：各位置的标签，如 {"3": "B-PER", "5-7": null}。', beams: "同时保留的开头数。",
  count: "答案数：最好的若干个，或抽样的次数。", length_penalty: "用束搜索时：0 按整个文本的 log p 排序，1 按每个词元的平均值。",
  gnmt: "另一种长度惩罚（Wu 等，2016）。", coverage_penalty: "漏读原文某些部分的文本排名靠后。",
  max_ratio: "词元数与原文词元数之比的上限；总可再多十个。", max_tokens: "词元数的上限。", min_tokens: "词元数的下限。",
  no_repeat: "这么多个词元的序列不出现两次。", prefix: "文本的开头。",
  constraint: "文本须符合的条件：正则表达式，或各部分；范围为一个数或 [从, 到]。", replace_unknown: "未知词元换成原文中的词元。",
  dictionary: "原文中未知的词用什么代替。", split: "是否逐句回答。", shortlist: "只用候选表中的词元，或其中这么多个。",
  temperature: "抽样：小于 1 偏向更可能的，大于 1 偏向较不可能的。", top_p: "从合计达到此概率的最可能词元中抽取。",
  min_p: "从概率至少为最可能词元这么多倍的词元中抽取。", repetition_penalty: "大于 1 时，出现过的词元较少再出现。",
  seed: "抽样的种子。", stop: "遇到即结束的字符串。", length: "每处空缺的长度：词数或字符数，或 [从, 到]。",
  window: "空缺之后计分的字符数。",
};

const PREPARED = { "": "模型读什么、答什么。", "/ready": "模型是否就绪。", "/config": "模型的配置。", "/stats": "模型的统计。" };
const MODEL = "/v2/models/{name}", STATE = `${MODEL}/sequences/{identity}/state`;

export const CALLS = {
  "GET /health/live": "进程是否回应。",
  "GET /health/ready": "是否接受请求。",
  "GET /metrics": "计数，供 Prometheus 读取。",
  "GET /openapi.json": "本描述。",
  "GET /v1/models": "已加载的模型。",
  "GET /v1/models/{name}": "一个模型。",
  "POST /v1/models/{name}/predict": "对一个或多个文本的回答。",
  "POST /v1/models/{name}/generate": "语言模型在开头之后续写的文本；`stream` 为真时以服务器推送事件返回。",
  "POST /v1/models/{name}/score": "文本（或给定源文时的译文）有多大可能。",
  "POST /v1/models/{name}/fill": "文本空缺处（___）可填的内容。",
  "POST /v1/models/{name}/rewrite": "文本中标出部分 [[…]] 的其他写法。",
  "POST /v1/models/{name}/explain": "每个词元对回答的作用，以及各门在每个词元上的值。",
  "GET /v2": "名称、版本与扩展。",
  "GET /v2/health/live": "进程是否回应。",
  "GET /v2/health/ready": "是否接受请求。",
  "GET /v2/models/stats": "各模型的回答次数。",
  "POST /v2/repository/index": "已加载或可加载的模型。",
  "GET /v2/systemsharedmemory/status": "没有系统共享内存。",
  "GET /v2/cudasharedmemory/status": "没有 CUDA 共享内存。",
  "GET /v2/logging": "不保存的设置。",
  "POST /v2/logging": "设置：原样返回，不保存。",
  "GET /v2/trace/setting": "不保存的设置。",
  "POST /v2/trace/setting": "设置：原样返回，不保存。",
  [`GET ${MODEL}/trace/setting`]: "不保存的设置。",
  [`POST ${MODEL}/trace/setting`]: "设置：原样返回，不保存。",
  [`GET ${STATE}`]: "一个序列的状态。",
  [`PUT ${STATE}`]: "以给定的状态开始一个序列。",
  [`DELETE ${STATE}`]: "忘记一个序列。",
  "POST /v2/repository/models/{name}/load": "加载一个模型。",
  "POST /v2/repository/models/{name}/unload": "卸载一个模型。",
};
for (const path of [MODEL, `${MODEL}/versions/{version}`]) {
  for (const [what, told] of Object.entries(PREPARED)) CALLS[`GET ${path}${what}`] = told;
  CALLS[`POST ${path}/infer`] = "以张量提问，以张量回答。";
}
