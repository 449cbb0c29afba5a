// A gRPC server on grpc-js with its own reflection (v1 and v1alpha). Prints its port.
// Node resolves the packages from NODE_PATH, which the test sets.
'use strict';

const path = require('path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');
const { ReflectionService } = require('@grpc/reflection');

const root = path.join(__dirname, 'proto');
const definition = loader.loadSync('foreign/v1/service.proto', {
  includeDirs: [root],
  keepCase: true,
  longs: String,
});
const { foreign } = grpc.loadPackageDefinition(definition);

const server = new grpc.Server();
server.addService(foreign.v1.Parcels.service, {
  Echo(call, done) {
    const trailer = new grpc.Metadata();
    trailer.set('x-served-by', 'node');
    done(null, { parcel: call.request.parcel, served_by: 'node' }, trailer);
  },
  Fail(call, done) {
    done({ code: call.request.code || grpc.status.FAILED_PRECONDITION, details: 'no stamp on it' });
  },
  Each(call) {
    call.on('data', (request) => call.write({ parcel: request.parcel, served_by: 'node' }));
    call.on('end', () => call.end());
  },
});
new ReflectionService(definition).addToServer(server);
server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(port);
});
// Ends with the test that started it, whose end closes this pipe.
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
