// Package network measures connections from a sandbox to a server on the host against other roads to the same
// server: loopback itself, a plain proxy between two processes of the host, and the user-mode networks pasta
// and slirp4netns. The same program (probe) plays client and server on all of them.
package network

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/bailey-sandbox/bailey/bench/compare"
	"github.com/bailey-sandbox/bailey/bench/yard"
)

// Names of the roads.
const (
	loopback = "loopback"
	plain    = "plain splice proxy"
	gateway  = "bailey"
	pasta    = "pasta"
	slirp    = "slirp4netns"
)

// Figures, in the order in which the probe prints them.
const (
	up           = "256 MiB up"
	down         = "256 MiB down"
	crowd        = "1,000 connections of 8 clients"
	connection   = "connection, median"
	connection99 = "connection, p99"
	trip         = "round trip, median"
	trip99       = "round trip, p99"
)

func figures() []string {
	return []string{up, down, crowd, connection, connection99, trip, trip99}
}

// targets are about the time of a fixed number of bytes: 0.9 of a throughput is 1/0.9 of the time.
func targets() []compare.Target {
	against := func(figure, peer string, factor, plus float64) compare.Target {
		return compare.Target{Command: gateway + ", " + figure, Peer: peer + ", " + figure, Factor: factor, Plus: plus}
	}
	return []compare.Target{
		against(up, plain, 1/0.9, 0), against(down, plain, 1/0.9, 0),
		against(up, pasta, 1/1.5, 0), against(down, pasta, 1, 0),
		against(up, slirp, 1./3, 0), against(down, slirp, 1, 0),
		against(trip, loopback, 1, 0.3), against(connection, loopback, 1, 0.3),
	}
}

// Run measures program.
func Run(ctx context.Context, dir, program string, rounds int) (report compare.Report, err error) {
	probe := filepath.Join(dir, "probe")
	if err := yard.Build(ctx, probe, "bench/network/probe"); err != nil {
		return report, err
	}
	h := &host{probe: probe}
	defer h.close()
	server, err := h.listen("serve")
	if err != nil {
		return report, err
	}
	proxy, err := h.listen("splice", server)
	if err != nil {
		return report, err
	}
	_, port, _ := strings.Cut(server, ":")
	sandboxed := "host.bailey.internal:" + port
	y, err := yard.Open(ctx, dir, program, "--allow", "tcp:"+sandboxed) // tcp: is carried unread
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, y.Remove(ctx, yard.Name)) }()
	inside := filepath.Join(y.Work, "probe")
	if err := copyProgram(inside, probe); err != nil {
		return report, err
	}
	roads := []compare.Command{
		{Name: loopback, Argv: []string{probe, "measure", server}},
		{Name: plain, Argv: []string{probe, "measure", proxy}},
		y.Command(gateway, "exec", yard.Name, inside, "measure", sandboxed),
		h.userMode(ctx, pasta, pastaArgs(), port),
		h.userMode(ctx, slirp, slirpArgs(), port),
	}
	for i := range roads {
		roads[i].Figures = figures()
	}
	report.Versions = []string{yard.First(ctx, y.Program, "version"), yard.First(ctx, "pasta", "--version"), yard.First(ctx, "slirp4netns", "--version")}
	if report.Results, err = compare.Run(ctx, roads, rounds); err != nil {
		return report, err
	}
	report.Verdicts = compare.Judge(report.Results, targets())
	return report, nil
}

func copyProgram(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
