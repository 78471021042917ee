STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: build test lint bench
build:; CGO_ENABLED=0 go build -tags netgo,osusergo -o bailey ./cmd/bailey
test:; go test ./...
lint:; test -z "$$(gofmt -l . | tee /dev/stderr)" && go vet ./... && go run $(STATICCHECK) ./...
bench:; go run ./bench
