// Package requests measures HTTPS requests from a sandbox, whose TLS the egress opens and whose every request it
// judges, against the same requests to the same server directly and through the plainest proxy that opens TLS; the same
// with a secret that enters each request on its way and is looked for in each answer; and what open connections cost in
// memory. The probe of package network plays all parts but the sandbox.
package requests

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/bailey-sandbox/bailey/bench/compare"
	"github.com/bailey-sandbox/bailey/bench/memory"
	"github.com/bailey-sandbox/bailey/bench/network"
	"github.com/bailey-sandbox/bailey/bench/yard"
)

// Names of the roads.
const (
	direct = "HTTPS, directly"
	plain  = "plain TLS reverse proxy"
	bailey = "bailey, inspected"
	keeps  = "bailey, with a secret"
	// A model's answer of 300 events to a prompt of 300 KiB, at a path where it is counted, and at another.
	counted = "a model's answer, counted"
	passed  = "the same, not counted"
)

// Figures, in the order in which the probe prints them.
const (
	up     = "256 MiB up"
	down   = "256 MiB down"
	fresh  = "1,000 connections with a request, 8 clients"
	open   = "1,000 requests, 8 clients"
	single = "request, median"
	worst  = "request, p99"

	first      = "first byte, median"
	firstWorst = "first byte, p99"
	answer     = "whole, median"
)

func targets() []compare.Target {
	against := func(figure, peer string, factor, plus float64) compare.Target {
		return compare.Target{Command: bailey + ", " + figure, Peer: peer + ", " + figure, Factor: factor, Plus: plus}
	}
	return []compare.Target{against(up, plain, 1/0.8, 0), against(down, plain, 1/0.8, 0), against(fresh, plain, 1/0.8, 0),
		against(open, plain, 1/0.8, 0), against(single, direct, 1, 0.3)}
}

// secrets says what a secret may cost beside the inspection.
func secrets() []compare.Target {
	all := []compare.Target{{Command: keeps + ", " + single, Peer: bailey + ", " + single, Factor: 1, Plus: 0.1}}
	for _, figure := range []string{up, down, fresh, open} {
		all = append(all, compare.Target{Command: keeps + ", " + figure, Peer: bailey + ", " + figure, Factor: 1.1})
	}
	return all
}

// keeper is the sandbox with a secret, and token what the probe's server takes for one.
const (
	keeper = "keeper"
	token  = "the-secret-of-host.bailey.internal"
)

// held is how many open connections are weighed.
const held = 1000

// Run measures program.
func Run(ctx context.Context, dir, program string, rounds int) (report compare.Report, err error) {
	lab, err := network.OpenLab(ctx, dir)
	if err != nil {
		return report, err
	}
	defer lab.Close()
	y, inside, err := lab.Sandbox(ctx, dir, program)
	if err != nil {
		return report, err
	}
	names := []string{yard.Name}
	var weights []compare.Result
	defer func() { err = errors.Join(err, y.Remove(ctx, names...)) }()
	// First, while the supervisor is as small as at its start.
	for _, kind := range []struct{ name, verb, address string }{{"carried", "hold", lab.Echo}, {"inspected", "holdweb", lab.Web}} {
		weight, err := weigh(ctx, y, y.Command("", "exec", "-i", yard.Name, inside, kind.verb, fmt.Sprint(held), kind.address))
		if err != nil {
			return report, err
		}
		weights = append(weights, compare.Summarise("supervisor, for 1,000 open connections, "+kind.name, memory.Mebibytes, []float64{weight}))
	}
	if err := y.Feed(ctx, token, "secret", "set", "--source", "age", "--sandbox", keeper, "--host", lab.Web, "--as", "bearer", "--env", "BENCH_TOKEN", "bench"); err != nil {
		return report, err
	}
	if err := y.StartNamed(ctx, keeper, "--allow", lab.Web); err != nil {
		return report, err
	}
	names = append(names, keeper)
	outside := append(os.Environ(), lab.Trust())
	roads := []compare.Command{
		{Name: direct, Env: outside, Argv: []string{lab.Probe, "requests", lab.WebAddress}},
		{Name: plain, Env: outside, Argv: []string{lab.Probe, "requests", lab.Proxy}},
		y.Command(bailey, "exec", yard.Name, inside, "requests", lab.Web),
		y.Command(keeps, "exec", keeper, inside, "requests", lab.Web),
	}
	for i := range roads {
		roads[i].Figures = []string{up, down, fresh, open, single, worst}
	}
	report.Versions = []string{yard.First(ctx, program, "version")}
	if report.Results, err = compare.Run(ctx, roads, rounds); err != nil {
		return report, err
	}
	models := []compare.Command{
		y.Command(counted, "exec", yard.Name, inside, "model", "/v1/messages", lab.Web),
		y.Command(passed, "exec", yard.Name, inside, "model", "/v1/others", lab.Web),
	}
	for i := range models {
		models[i].Figures = []string{first, firstWorst, answer}
	}
	answers, err := compare.Run(ctx, models, rounds)
	if err != nil {
		return report, err
	}
	report.Results = append(report.Results, answers...)
	report.Verdicts = compare.Judge(report.Results, slices.Concat(targets(), secrets(), []compare.Target{
		{Command: counted + ", " + first, Peer: passed + ", " + first, Factor: 1, Plus: 3}, // counting waits for no disk but the reservation's
		{Command: counted + ", " + answer, Peer: passed + ", " + answer, Factor: 1.1, Plus: 3},
	}))
	report.Results = append(report.Results, weights...)
	return report, nil
}

// weigh returns by how much the supervisor grows while hold keeps its connections open, in MiB.
func weigh(ctx context.Context, y *yard.Yard, hold compare.Command) (float64, error) {
	pids, err := memory.Supervisors(ctx, y)
	if err != nil || len(pids) != 1 {
		return 0, errors.Join(err, fmt.Errorf("there are %d supervisors", len(pids)))
	}
	before, err := memory.Size(pids[0])
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, hold.Argv[0], hold.Argv[1:]...)
	cmd.Env, cmd.Dir = hold.Env, hold.Dir
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		return 0, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != "held" {
		return 0, errors.Join(err, cmd.Process.Kill(), cmd.Wait(), errors.New("the connections could not be opened"))
	}
	after, err := memory.Size(pids[0])
	return after - before, errors.Join(err, in.Close(), cmd.Wait())
}
