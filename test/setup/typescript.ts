import { createRequire } from 'node:module';

// `import` takes three times as long: Node looks for the format of the package, and for the names that it exports.
const load = createRequire(import.meta.url);
export default load('typescript') as typeof import('typescript');
