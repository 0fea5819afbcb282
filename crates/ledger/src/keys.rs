//! stub
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRules;
impl KeyRules {
    pub fn sent(&self, _dependency: &str, _key: &str, _salt: u32) -> Option<String> { None }
    pub fn cancel_key(&self, dependency: &str, key: &str, generation: u32, salt: u32) -> String { format!("{dependency}{key}:c:{generation}{salt}") }
}
