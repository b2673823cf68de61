module flaggateway/go_sdk

go 1.23

require github.com/configcat/go-sdk/v9 v9.1.0

require github.com/blang/semver/v4 v4.0.0 // indirect
