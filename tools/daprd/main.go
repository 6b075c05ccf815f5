// A Dapr sidecar for the tests: the stable components, and JetStream beside them.
//
// Built by tools/daprd.sh, used where no daprd is on PATH.
package main

import (
	"github.com/dapr/components-contrib/pubsub"
	"github.com/dapr/components-contrib/pubsub/jetstream"
	"github.com/dapr/dapr/cmd/daprd/app"
	pubsubloader "github.com/dapr/dapr/pkg/components/pubsub"
	"github.com/dapr/kit/logger"
)

func main() {
	pubsubloader.DefaultRegistry.RegisterComponent(func(log logger.Logger) pubsub.PubSub {
		return jetstream.NewJetStream(log)
	}, "jetstream")
	app.Run()
}
