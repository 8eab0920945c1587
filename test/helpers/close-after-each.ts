import { afterEach } from 'vitest';

interface Closable {
  stop?(): unknown;
  close?(): unknown;
  disconnect?(): unknown;
}

/** Returns a function that registers a resource. After each test, registered resources are closed, last first. */
export function closeAfterEach() {
  const open: Closable[] = [];
  afterEach(async () => {
    for (const resource of open.splice(0).reverse()) {
      await (resource.stop ?? resource.close ?? resource.disconnect)?.call(resource);
    }
  });
  return <T extends Closable>(resource: T): T => {
    open.push(resource);
    return resource;
  };
}
