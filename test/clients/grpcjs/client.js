// Calls the four methods of the example with @grpc/grpc-js and prints what it
// heard as JSON.
//
//   node client.js HOST:PORT PROTO_ROOT [CA_FILE]

'use strict';

const fs = require('fs');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [addr, protoRoot, caFile] = process.argv.slice(2);
const definition = loader.loadSync('echo/v1/echo.proto', { includeDirs: [protoRoot] });
const { EchoService } = grpc.loadPackageDefinition(definition).echo.v1;
const credentials = caFile
  ? grpc.credentials.createSsl(fs.readFileSync(caFile))
  : grpc.credentials.createInsecure();
const client = new EchoService(addr, credentials);
const deadline = () => ({ deadline: Date.now() + 10_000 });

// answer makes a callback of grpc-js a promise.
function answer(begin) {
  return new Promise((resolve, reject) => {
    begin((err, resp) => (err ? reject(err) : resolve(resp.message)));
  });
}

// answers collects the messages of a stream until its status.
function answers(stream) {
  return new Promise((resolve, reject) => {
    const messages = [];
    stream.on('data', (resp) => messages.push(resp.message));
    stream.on('error', reject);
    stream.on('end', () => resolve(messages));
  });
}

function say(stream) {
  stream.write({ message: 'a' });
  stream.write({ message: 'b' });
  stream.end();
  return stream;
}

// large is more than any buffer or window on the way.
const large = '0123456789abcdef'.repeat((3 << 20) / 16);

async function main() {
  console.log(JSON.stringify({
    echo: await answer((done) => client.echo({ message: 'hi' }, deadline(), done)),
    large: (await answer((done) => client.echo({ message: large }, deadline(), done))).length,
    repeat: await answers(client.repeat({ message: 'hi', count: 3 }, deadline())),
    collect: await answer((done) => say(client.collect(deadline(), done))),
    chat: await answers(say(client.chat(deadline()))),
  }));
  client.close();
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
