package modelapi

import (
	"maps"
	"net/http"
	"strings"
)

// responses answers the OpenAI Responses API, which codex speaks.
func (s *Server) responses(w http.ResponseWriter, body object, tokens int) {
	done := 0
	for _, item := range list(body["input"]) {
		if strings.HasSuffix(text(fields(item)["type"]), "_call_output") {
			done++
		}
	}
	tool, say := s.answer(offered(body), done)
	item := object{"type": "message", "id": s.ids.next("msg"), "role": "assistant", "status": "completed",
		"content": []object{{"type": "output_text", "text": say, "annotations": []any{}}}}
	if tool != nil {
		item = object{"type": "function_call", "id": s.ids.next("fc"), "call_id": s.ids.next("call"), "name": tool.tool,
			"arguments": encode(tool.args), "status": "completed"}
	}
	response := object{"id": s.ids.next("resp"), "object": "response", "created_at": 1, "model": body["model"], "status": "completed",
		"output": []object{item}, "usage": object{"input_tokens": tokens, "input_tokens_details": object{"cached_tokens": 0},
			"output_tokens": 25, "output_tokens_details": object{"reasoning_tokens": 0}, "total_tokens": tokens + 25}}
	if !flag(body["stream"]) {
		reply(w, response)
		return
	}
	created := maps.Clone(response)
	created["status"], created["output"] = "in_progress", []any{}
	out := newStream(w)
	out.event(object{"type": "response.created", "response": created})
	out.event(object{"type": "response.output_item.added", "output_index": 0, "item": item})
	if tool == nil {
		out.event(object{"type": "response.output_text.delta", "item_id": item["id"], "output_index": 0, "content_index": 0, "delta": say})
	}
	out.event(object{"type": "response.output_item.done", "output_index": 0, "item": item})
	out.event(object{"type": "response.completed", "response": response})
}

// chat answers the OpenAI Chat Completions API, which most other providers imitate.
func (s *Server) chat(w http.ResponseWriter, body object, tokens int) {
	done := 0
	for _, m := range list(body["messages"]) {
		if text(fields(m)["role"]) == "tool" {
			done++
		}
	}
	tool, say := s.answer(offered(body), done)
	message, stop := object{"role": "assistant", "content": say}, "stop"
	if tool != nil {
		message["tool_calls"] = []object{{"index": 0, "id": s.ids.next("call"), "type": "function",
			"function": object{"name": tool.tool, "arguments": encode(tool.args)}}}
		stop = "tool_calls"
	}
	usage := object{"prompt_tokens": tokens, "completion_tokens": 25, "total_tokens": tokens + 25}
	base := object{"id": s.ids.next("chatcmpl"), "created": 1, "model": body["model"], "choices": []object{}}
	with := func(kind string, more object) object {
		o := maps.Clone(base)
		o["object"] = kind
		maps.Copy(o, more)
		return o
	}
	if !flag(body["stream"]) {
		reply(w, with("chat.completion", object{"usage": usage,
			"choices": []object{{"index": 0, "message": message, "finish_reason": stop}}}))
		return
	}
	const chunk = "chat.completion.chunk"
	out := newStream(w)
	out.event(with(chunk, object{"choices": []object{{"index": 0, "delta": message, "finish_reason": nil}}}))
	out.event(with(chunk, object{"choices": []object{{"index": 0, "delta": object{}, "finish_reason": stop}}}))
	out.event(with(chunk, object{"usage": usage}))
	out.data("[DONE]")
}
