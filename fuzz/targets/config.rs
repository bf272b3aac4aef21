//! The text of a configuration file.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // Files of keys are read from the disk, which is no part of this.
    if ["jwks_file", "pem_file", "ca_file", "\\u", "\\U"].iter().any(|word| text.contains(word)) {
        return;
    }
    let loaded = scopeshim_fuzz::parse(text);
    let _ = loaded.render();
    let (errors, _) = loaded.counts();
    assert_eq!(loaded.config.is_none(), errors > 0, "{}", loaded.render());
});
