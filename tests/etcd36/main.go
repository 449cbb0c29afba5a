// Command etcd36 is etcd 3.6 as published, built from its Go module, for machines whose packages have
// an older one: the tests compare etcdlite with it when ETCDLITE_PEER_ETCD names the binary.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
