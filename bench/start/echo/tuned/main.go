// Tuned is ../bare with the transport options of easyops.
package main

import (
	"log"
	"os"

	"github.com/go-easyops/easyops/bench/echo"
	"github.com/go-easyops/easyops/bench/grpcgo"
	"github.com/go-easyops/easyops/bench/serving"
)

func main() {
	if err := serving.Run(os.Args[1:], grpcgo.Tuned(echo.Register)); err != nil {
		log.Fatal(err)
	}
}
