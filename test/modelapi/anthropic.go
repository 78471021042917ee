package modelapi

import "net/http"

// anthropic answers the Messages API (docs.anthropic.com, "Messages" and "Streaming messages").
func (s *Server) anthropic(w http.ResponseWriter, body object, tokens int) {
	w.Header().Set("Request-Id", s.ids.next("req")) // as the real one does: clients log it
	done := 0
	for _, m := range list(body["messages"]) {
		for _, c := range list(fields(m)["content"]) {
			if text(fields(c)["type"]) == "tool_result" {
				done++
			}
		}
	}
	tool, say := s.answer(offered(body), done)
	blocks, stop := []object{{"type": "text", "text": say}}, "end_turn"
	if tool != nil {
		blocks = append(blocks, object{"type": "tool_use", "id": s.ids.next("toolu"), "name": tool.tool, "input": tool.args})
		stop = "tool_use"
	}
	usage := object{"input_tokens": tokens, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 25}
	msg := object{"id": s.ids.next("msg"), "type": "message", "role": "assistant", "model": body["model"],
		"content": blocks, "stop_reason": stop, "stop_sequence": nil, "usage": usage}
	if !flag(body["stream"]) {
		reply(w, msg)
		return
	}
	msg["content"], msg["stop_reason"] = []object{}, nil
	out := newStream(w)
	out.event(object{"type": "message_start", "message": msg})
	for i, block := range blocks {
		start, delta := object{"type": "text", "text": ""}, object{"type": "text_delta", "text": block["text"]}
		if block["type"] == "tool_use" {
			start = object{"type": "tool_use", "id": block["id"], "name": block["name"], "input": object{}}
			delta = object{"type": "input_json_delta", "partial_json": encode(block["input"])}
		}
		out.event(object{"type": "content_block_start", "index": i, "content_block": start})
		out.event(object{"type": "content_block_delta", "index": i, "delta": delta})
		out.event(object{"type": "content_block_stop", "index": i})
	}
	out.event(object{"type": "message_delta", "delta": object{"stop_reason": stop, "stop_sequence": nil}, "usage": usage})
	out.event(object{"type": "message_stop"})
}
