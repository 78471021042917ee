module github.com/bailey-sandbox/bailey

go 1.26.0

require (
	github.com/creack/pty v1.1.24
	go.uber.org/goleak v1.3.0
	golang.org/x/crypto v0.58.0
	golang.org/x/sys v0.49.0
)
