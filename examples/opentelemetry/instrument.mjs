// Loaded before the app: node --import ./examples/opentelemetry/instrument.mjs app.mjs
// Environment variables choose the exporters: OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 OTEL_METRICS_EXPORTER=otlp
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http';
import { NodeSDK } from '@opentelemetry/sdk-node';
import './route-names.mjs';

const sdk = new NodeSDK({ instrumentations: [new HttpInstrumentation()] });
sdk.start();

// Sends the last spans and metrics once the app has closed its server, its pool and hotpath; process.exit() skips this.
process.once('beforeExit', () => {
  // A collector that cannot be reached does not make the exit of the app a failure.
  sdk.shutdown().catch(({ message }) => console.error('OpenTelemetry:', message));
});
