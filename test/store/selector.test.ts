import { describe, expect, it } from 'vitest';
import { HotpathError } from '../../src/config/errors.js';
import { compileSelector } from '../../src/store/selector.js';

describe('selectors', () => {
  it.each([
    ['nothing', undefined],
    ['null', null],
    ['a text', 'products'],
    ['an empty object', {}],
    ['two forms at once', { tag: 'a', url: '/b' }],
    ['an empty tag', { tag: '' }],
    ['a tag that is no text', { tag: 1 }],
    ['a URL with a host', { url: 'http://example.com/' }],
    ['all: false', { all: false }],
    ['an unknown form', { path: '/x' }],
    ['a form by inheritance', Object.create({ all: true })],
    ['an object that holds itself', circular()],
  ])('K06 %s is refused with an error that names the four forms', (_, given) => {
    const refused = () => compileSelector(given as never);
    expect(refused).toThrow(HotpathError);
    expect(refused).toThrow(expect.objectContaining({ code: 'HOTPATH_SELECTOR_INVALID' }));
    expect(refused).toThrow(/\{ tag: 'name' \}.*\{ all: true \}/s);
  });

  it('K06 a pattern that can not be compiled is refused, naming it', () => {
    expect(() => compileSelector({ pattern: '/a/*' })).toThrow(HotpathError);
    expect(() => compileSelector({ pattern: '/a/*' })).toThrow('/a/*');
  });

  it('K06 an explicit undefined beside one form counts as absent', () => {
    expect(compileSelector({ tag: 'a', url: undefined } as never)).toMatchObject({ kind: 'tag', value: 'a' });
  });
});

function circular(): object {
  const self: Record<string, unknown> = {};
  self.self = self;
  return self;
}
