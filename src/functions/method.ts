import { configError } from '../options/errors.js';
import { formatValue } from '../options/format-value.js';
import type { AnyFunction, CachedCalls } from './cached-calls.js';
import type { FunctionSettings } from './options.js';
import { currentScope } from './scope.js';

/** An async method. */
type AsyncMethod<Args extends readonly unknown[]> = (...args: Args) => Promise<unknown>;

/** A decorator for async methods: with the call shape of the standard, and that of `experimentalDecorators`. */
export interface MethodDecoratorOf<Args extends readonly unknown[]> {
  <Method extends AsyncMethod<Args>>(method: Method, context: ClassMethodDecoratorContext): Method;
  <Method extends AsyncMethod<Args>>(
    target: object,
    name: string | symbol,
    descriptor: TypedPropertyDescriptor<Method>,
  ): void;
}

/** @param register creates the cached calls of the decorated method. */
export function decorateMethod(
  register: (method: AnyFunction) => CachedCalls,
  settings: FunctionSettings,
): MethodDecoratorOf<never[]> {
  const decorator = (target: unknown, where: unknown, descriptor?: PropertyDescriptor) => {
    if (typeof where === 'object' && where !== null && 'kind' in where) {
      if (where.kind !== 'method') throw notMethod(`a ${String(where.kind)}`);
      return replace(target as AnyFunction);
    }
    const method: unknown = descriptor?.value;
    if (!descriptor || typeof method !== 'function') throw notMethod(formatValue(target));
    descriptor.value = replace(method as AnyFunction);
    return undefined;
  };
  const replace = (method: AnyFunction) => {
    const calls = register(method);
    const instances = new InstanceGuard();
    return function cachedMethod(this: unknown, ...args: unknown[]): Promise<unknown> {
      if (settings.key || instances.isFirst(this)) return calls.call(this, args);
      return callForOtherInstance(calls, this, args);
    };
  };
  return decorator as MethodDecoratorOf<never[]>;
}

/** @throws (rejects) in strict mode. */
async function callForOtherInstance(calls: CachedCalls, self: unknown, args: unknown[]): Promise<unknown> {
  const scope = currentScope();
  calls.refuseCall(
    'the method was called on a second instance, whose results may differ; set `key` to a function that returns ' +
      'the arguments, and the part of `this` on which the result depends',
    scope,
  );
  return calls.callUncached(self, args, scope);
}

/** Recognises the instance of the first call: the key of a result does not have the state of an instance. */
class InstanceGuard {
  #first: WeakRef<object> | undefined;

  isFirst(self: unknown): boolean {
    if ((typeof self !== 'object' && typeof self !== 'function') || self === null) return true;
    this.#first ??= new WeakRef(self);
    return this.#first.deref() === self;
  }
}

function notMethod(received: string): Error {
  return configError([{ path: 'cached.method', message: 'expected to decorate a method', received }]);
}
