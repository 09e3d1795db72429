// What the page says, in English and Chinese.

export const WORDS = {
  en: {
    other: "中文", model: "Model", token: "Token of this service", why: "Why: tokens and gates", code: "Ask the same from a program",
    copy: "Copy", copied: "Copied", not_copied: "Not copied", sure: "sure", text: "Text", prompt: "Text to go on from, or with ___ to be filled",
    source: "Text to be read", message: "Message", you: "You", begin: "Say something.", silent: "(nothing)", send: "Send",
    again: "Another reply", fresh: "New dialogue", write: "Write", stop: "Stop", fill: "Fill the gaps",
    ms: "ms, there and back", bytes: "on disk", empty: "Nothing to read yet.", none: "No span was found.",
    max_tokens: "tokens", temperature: "temperature", top_p: "top p", seed: "seed", must: "must have (words, by commas)",
    must_not: "must not have", pattern: "pattern (a regular expression)", beams: "beams", count: "answers",
    tokens: "tokens", ended: { end: "ended", length: "cut at the limit", stop: "stopped", constraint: "nothing more is allowed" },
    unreachable: "The service does not answer. Is it still running?", no_model: "No model is loaded.",
    odd_token: "This is no token: it has characters that a request cannot carry.",
    dots: "A name cannot have a part that is . or ..: addresses lose it on the way.",
    reference: "Reference", reference_title: "Gatework: reference", body: "Body", answers: "Answers", trial: "Try it",
    copy_curl: "Copy as curl", octets: "bytes", groups: { models: "Models", service: "Service", protocol: "Open Inference Protocol" },
  },
  zh: {
    other: "English", model: "模型", token: "本服务的令牌", why: "为何如此：词元与门", code: "在程序中同样提问",
    copy: "复制", copied: "已复制", not_copied: "未能复制", sure: "确信", text: "文本", prompt: "续写的开头，或含 ___ 的待填文本",
    source: "要读的文本", message: "消息", you: "你", begin: "说点什么吧。", silent: "（无）", send: "发送",
    again: "换一个回答", fresh: "新对话", write: "续写", stop: "停止", fill: "填空",
    ms: "毫秒（往返）", bytes: "文件大小", empty: "还没有可读的内容。", none: "没有找到片段。",
    max_tokens: "词元数", temperature: "温度", top_p: "top p", seed: "种子", must: "必须出现（以逗号分隔）",
    must_not: "不得出现", pattern: "格式（正则表达式）", beams: "束宽", count: "答案数",
    tokens: "个词元", ended: { end: "已结束", length: "到长度上限为止", stop: "已停止", constraint: "已无可续写" },
    unreachable: "服务没有回应，是否仍在运行？", no_model: "没有加载任何模型。",
    odd_token: "这不是令牌：其中有请求无法携带的字符。", dots: "名称中不能有 . 或 .. 这样的部分：地址会把它去掉。",
    reference: "接口说明", reference_title: "Gatework：接口说明", body: "请求体", answers: "回答", trial: "试一试",
    copy_curl: "复制为 curl", octets: "字节", groups: { models: "模型", service: "服务", protocol: "开放推理协议" },
  },
};
