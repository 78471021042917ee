// Command bailey runs AI coding agents in a sandbox.
package main

func main() {}
