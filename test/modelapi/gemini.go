package modelapi

import "net/http"

// gemini answers generateContent and streamGenerateContent (ai.google.dev/api/generate-content), also as Google's Code
// Assist wraps them for those who log in with an account.
func (s *Server) gemini(w http.ResponseWriter, body object, tokens int, streamed bool) {
	inner, wrapped := body["request"].(object)
	if wrapped {
		body = inner
	}
	done := 0
	for _, c := range list(body["contents"]) {
		for _, p := range list(fields(c)["parts"]) {
			if fields(p)["functionResponse"] != nil {
				done++
			}
		}
	}
	tool, say := s.answer(offered(body), done)
	if len(offered(body)) == 0 && text(fields(body["generationConfig"])["responseMimeType"]) == "application/json" {
		// The client asks which model should answer; a text that is no JSON makes it retry for long.
		say = `{"reasoning":"test","model_choice":"flash","complexity_reasoning":"test","complexity_score":1}`
	}
	parts := []object{{"text": say}}
	if tool != nil {
		parts = append(parts, object{"functionCall": object{"id": s.ids.next("call"), "name": tool.tool, "args": tool.args}})
	}
	response := object{
		"candidates":    []object{{"index": 0, "content": object{"role": "model", "parts": parts}, "finishReason": "STOP"}},
		"usageMetadata": object{"promptTokenCount": tokens, "candidatesTokenCount": 25, "totalTokenCount": tokens + 25},
		"modelVersion":  "test-1",
	}
	if wrapped {
		response = object{"response": response}
	}
	if streamed {
		newStream(w).event(response)
		return
	}
	reply(w, response)
}
