import fc from 'fast-check';
import { expect, it } from 'vitest';
import { TransientMap } from '../../../src/runtime/transient-map.js';

it('finds entries like a Map, after any operations', () => {
  // More keys than buckets, so that some collide.
  const key = fc.nat(200).map((n) => `key ${n}`);
  const step = fc.oneof(
    fc.record({ set: key, value: fc.nat(3) }),
    fc.record({ delete: key, value: fc.nat(3) }),
    fc.record({ get: key }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 600 }), (steps) => {
      const transient = new TransientMap<number>();
      const map = new Map<string, number>();
      for (const each of steps) {
        if ('set' in each) {
          transient.set(each.set, each.value);
          map.set(each.set, each.value);
        } else if ('delete' in each) {
          transient.delete(each.delete, each.value);
          if (map.get(each.delete) === each.value) map.delete(each.delete);
        } else expect(transient.get(each.get)).toBe(map.get(each.get));
        expect(transient.size).toBe(map.size);
      }
      for (let n = 0; n <= 200; n++) expect(transient.get(`key ${n}`)).toBe(map.get(`key ${n}`));
    }),
  );
});
