import { create, type DescMessage, type DescMethod, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { type Code, ConnectError, type StreamResponse, type Transport, type UnaryResponse } from "@connectrpc/connect";
import * as grpc from "@grpc/grpc-js";

/** Returns a Connect transport on a client of @grpc/grpc-js. */
export function createGrpcTransport(client: grpc.Client): Transport {
  return {
    unary(method, signal, timeoutMs, header, input) {
      return new Promise((resolve, reject) => {
        signal?.throwIfAborted();
        const request = create(method.input, input);
        const { path, encode, decode } = wire(method);
        const response: UnaryResponse = {
          stream: false,
          service: method.parent,
          method,
          header: new Headers(),
          trailer: new Headers(),
          message: undefined as never,
        };
        const call = client.makeUnaryRequest(path, encode, decode, request, metadata(header), deadline(timeoutMs), (error, message) => {
          signal?.removeEventListener("abort", abort);
          if (error !== null) {
            reject(connectError(error));
          } else {
            resolve({ ...response, message } as UnaryResponse<typeof method.input, typeof method.output>);
          }
        });
        const abort = () => call.cancel();
        signal?.addEventListener("abort", abort, { once: true });
      });
    },
    async stream<I extends DescMessage, O extends DescMessage>(
      ...[method, signal, timeoutMs, header, input]: Parameters<Transport["stream"]>
    ): Promise<StreamResponse<I, O>> {
      signal?.throwIfAborted();
      // The contract has streams of the server only, of one request each.
      let request = create(method.input);
      for await (const message of input) {
        request = create(method.input, message);
      }
      const { path, encode, decode } = wire(method);
      const call = client.makeServerStreamRequest(path, encode, decode, request, metadata(header), deadline(timeoutMs));
      return {
        stream: true,
        service: method.parent,
        method,
        header: new Headers(),
        trailer: new Headers(),
        message: read(call, signal),
      } as unknown as StreamResponse<I, O>;
    },
  };
}

async function* read<T>(call: grpc.ClientReadableStream<T>, signal: AbortSignal | undefined): AsyncGenerator<T> {
  const abort = () => call.cancel();
  signal?.addEventListener("abort", abort, { once: true });
  call.on("error", () => {}); // one that comes after the last read has nobody to take it
  try {
    for await (const message of call) {
      yield message as T;
    }
  } catch (error) {
    throw connectError(error as grpc.ServiceError);
  } finally {
    signal?.removeEventListener("abort", abort);
    call.cancel();
  }
}

function wire(method: DescMethod) {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    encode: (message: MessageShape<DescMessage>) => Buffer.from(toBinary(method.input, message)),
    decode: (bytes: Buffer) => fromBinary(method.output, bytes),
  };
}

function metadata(header: HeadersInit | undefined): grpc.Metadata {
  const metadata = new grpc.Metadata();
  new Headers(header).forEach((value, name) => metadata.set(name, value));
  return metadata;
}

function deadline(timeoutMs: number | undefined): grpc.CallOptions {
  return timeoutMs ? { deadline: Date.now() + timeoutMs } : {};
}

/** Returns an error of gRPC as Connect's. The codes are the same numbers. */
function connectError(error: grpc.ServiceError): ConnectError {
  const headers = new Headers();
  for (const [name, value] of Object.entries(error.metadata?.getMap() ?? {})) {
    if (typeof value === "string") {
      headers.set(name, value);
    }
  }
  return new ConnectError(error.details ?? error.message, error.code as number as Code, headers, undefined, error);
}
