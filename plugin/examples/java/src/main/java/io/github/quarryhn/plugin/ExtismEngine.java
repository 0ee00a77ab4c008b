package io.github.quarryhn.plugin;



import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import org.extism.sdk.ExtismException;
import org.extism.sdk.Plugin;
import org.extism.sdk.manifest.Manifest;
import org.extism.sdk.wasm.PathWasmSource;

/**
 * plugin.wasm under libextism, which is native code, by Extism's Java SDK. libextism is found by the system property
 * {@code jna.library.path}. What wasmtime compiled is kept where the file named by the environment's EXTISM_CACHE_CONFIG says.
 */
public final class ExtismEngine implements Engine {
    private final Manifest manifest;

    /** @param module the file plugin.wasm */
    public ExtismEngine(Path module) {
        manifest = new Manifest(List.of(new PathWasmSource("quarry", module.toAbsolutePath().toString(), null)));
    }

    @Override
    public Instance open() {
        Plugin plugin = new Plugin(manifest, false, null); // false: the module needs no WASI
        return new Instance() {
            @Override
            public byte[] call(Operation operation, byte[] message) {
                try {
                    return plugin.call(operation.name().toLowerCase(Locale.ROOT), message);
                } catch (ExtismException e) {
                    throw QuarryException.of(e.getMessage(), e);
                }
            }

            @Override
            public void close() {
                plugin.close();
            }
        };
    }
}
